//! configd as a process of its own: flags, telemetry, admin port, drain.

mod peers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tidegate_compiler::{Pooling, Settings};
use tidegate_runtime::admin::AdminServer;
use tidegate_runtime::drain::Drain;
use tidegate_runtime::identity::{Role, TlsArgs};
use tidegate_runtime::memory;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tidegate_runtime::seal::SealArgs;
use tidegate_runtime::telemetry::{LogFormat, Telemetry, TelemetryOptions};
use tidegate_store::HIGHEST_LEVEL;
use tracing::{info, warn};

use self::peers::PeerArgs;
use crate::Security;
use crate::app::{Configd, ConfigdOptions};

/// Time for streams and the store to end after a signal.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// What Raft does from entry to entry is for those who look into Raft.
const DEFAULT_FILTER: &str = "info,openraft=warn";

/// Run the config store: takes objects in, publishes compiled snapshots, streams them to workers.
#[derive(Debug, Args)]
pub struct ConfigdArgs {
    /// Directory for everything that must survive
    #[arg(long, env = "TIDEGATE_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// Address of the gRPC services; beyond the loopback they need a certificate
    #[arg(long, default_value = "127.0.0.1:15010", value_name = "ADDR")]
    listen: SocketAddr,
    /// Address of the admin port: /livez, /readyz, /metrics
    #[arg(long, default_value = "127.0.0.1:15001", value_name = "ADDR")]
    admin: SocketAddr,
    /// GatewayClasses with this controllerName are ours
    #[arg(
        long,
        default_value = "tidegate.dev/gateway-controller",
        value_name = "NAME"
    )]
    controller_name: String,
    /// Serve all Gateways from one pool of workers with this name; without it each Gateway has its own
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// An address at which clients reach the workers; may be given several times. Gateways that ask
    /// for another one are not programmed; without any, what they ask for is taken on trust
    #[arg(long = "address", value_name = "IP")]
    addresses: Vec<std::net::IpAddr>,
    /// text or json, on stderr
    #[arg(long, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// MiB that are kept free on the disk of --data-dir; below that no write is taken
    #[arg(
        long,
        env = "TIDEGATE_DISK_RESERVE_MIB",
        value_name = "MIB",
        default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(1..=1_048_576)
    )]
    disk_reserve_mib: u64,
    /// Take part as a release that knows no higher feature level, for tests of upgrades
    #[arg(long, hide = true, value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(1..=i64::from(HIGHEST_LEVEL)))]
    highest_level: Option<u32>,
    #[command(flatten)]
    seal: SealArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    peers: PeerArgs,
}

impl ConfigdArgs {
    /// Runs until a signal.
    ///
    /// # Errors
    /// With what keeps configd from starting.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self {
            data_dir,
            listen,
            admin,
            controller_name,
            pool,
            addresses,
            log_format,
            disk_reserve_mib,
            highest_level,
            seal,
            tls,
            peers,
        } = self;
        let security = security(&tls, listen)?;
        let cluster = peers.options(&tls)?;
        let telemetry = Telemetry::init(&TelemetryOptions {
            service_name: "tidegate-configd".to_owned(),
            log_format,
            default_filter: DEFAULT_FILTER.to_owned(),
        })?;
        let seal_keys = seal.keys()?;
        if seal_keys.is_none() {
            warn!(
                "Private keys are stored in clear in {}; give --seal-key.",
                data_dir.display()
            );
        }
        let drain = Drain::new(DRAIN_DEADLINE);
        drain.listen_for_signals()?;
        memory::give_back_regularly();
        let metrics = Metrics::new("tidegate", "configd", env!("CARGO_PKG_VERSION"));
        let readiness = Readiness::new();
        let server = AdminServer::new(metrics.clone(), readiness.clone())
            .log_filter(telemetry.log_filter())
            .bind(admin)
            .await?;
        let end = drain.clone();
        drain.tasks().spawn(
            "admin port",
            server.serve(async move { end.shut_down().await }),
        );
        let pooling = pool.map_or(Pooling::PerGateway, |pool| Pooling::Single { pool });
        let settings = Settings {
            controller_name,
            pooling,
            addresses,
        };
        let options = ConfigdOptions {
            data_dir,
            settings,
            listen: Some(listen),
            security,
            seal_keys,
            cluster,
            disk_reserve: Some(disk_reserve_mib << 20),
            highest_level,
            metrics,
            readiness,
        };
        let started = tokio::select! {
            started = Configd::start(options) => Some(started),
            // Those that found a cluster wait for one another, so the signal may come first.
            () = drain.started() => None,
        };
        let Some(started) = started else {
            drain.shut_down_now();
            drain.finish().await;
            return Ok(());
        };
        let configd = started.context("configd did not start")?;
        if let Some(address) = configd.address() {
            info!(%address, "configd serves");
        }
        drain.started().await;
        configd.shutdown().await;
        drain.shut_down_now();
        drain.finish().await;
        Ok(())
    }
}

fn security(tls: &TlsArgs, listen: SocketAddr) -> anyhow::Result<Security> {
    if let Some(credentials) = tls.credentials()? {
        return Ok(Security::MutualTls(credentials.require(Role::Configd)?));
    }
    tls.check_plaintext(listen)?;
    Ok(Security::Plaintext)
}

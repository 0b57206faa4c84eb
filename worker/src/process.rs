//! The worker as a process of its own: flags, telemetry, admin port, drain.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tidegate_runtime::admin::AdminServer;
use tidegate_runtime::drain::{Drain, DrainOutcome};
use tidegate_runtime::identity::{Role, TlsArgs};
use tidegate_runtime::memory;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tidegate_runtime::telemetry::{LogFormat, Telemetry, TelemetryOptions};
use tonic::transport::Endpoint;

use crate::{
    AccessLogTo, BindPolicy, Configds, EdgeArgs, LimitArgs, PortPolicy, Worker, WorkerOptions,
};

/// Run a worker: serves the traffic of one pool by the snapshots that configd streams.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Where configd is, such as https://configd:15010; several replicas are separated by commas, and
    /// the worker goes on with another one when the one that it follows is lost.
    #[arg(
        long,
        env = "TIDEGATE_CONFIGD",
        value_name = "URL,...",
        required = true,
        value_delimiter = ','
    )]
    configd: Vec<String>,
    /// The pool to follow.
    #[arg(long, env = "TIDEGATE_POOL", default_value = "default")]
    pool: String,
    /// Unique name of this worker.
    #[arg(long, env = "HOSTNAME", default_value = "worker")]
    name: String,
    /// Data threads; by default one per core.
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// The address of all listeners.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    bind: IpAddr,
    /// What happens where a listener's port is taken.
    #[arg(long, value_enum, default_value_t = WhenTaken::Refuse)]
    when_taken: WhenTaken,
    /// Bind ports below 1024 as they are, instead of adding 8000.
    #[arg(long)]
    privileged_ports: bool,
    /// Folder of the last good snapshot, which is served before configd is up; private keys are in it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Health, metrics and debug pages.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Do not write a line per request to stdout.
    #[arg(long)]
    no_access_log: bool,
    /// text or json, on stderr.
    #[arg(long, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Seconds between not being ready and not accepting connections.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    drain_delay_s: u64,
    /// Seconds that open requests get to end.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_deadline_s: u64,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    edge: EdgeArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WhenTaken {
    /// Refuse the snapshot.
    Refuse,
    /// Take the next free port above it.
    Next,
}

impl WorkerArgs {
    /// Runs until a signal.
    ///
    /// # Errors
    /// With what keeps the worker from starting.
    pub async fn run(self) -> anyhow::Result<()> {
        let telemetry = Telemetry::init(&TelemetryOptions {
            service_name: "tidegate-worker".to_owned(),
            log_format: self.log_format,
            default_filter: "info".to_owned(),
        })?;
        serve(self, &telemetry).await
    }
}

async fn serve(options: WorkerArgs, telemetry: &Telemetry) -> anyhow::Result<()> {
    let metrics = Metrics::new("tidegate", "worker", env!("CARGO_PKG_VERSION"));
    let readiness = Readiness::new();
    let deadline = Duration::from_secs(options.drain_delay_s + options.drain_deadline_s);
    let drain = Drain::new(deadline);
    drain.listen_for_signals()?;
    memory::give_back_regularly();
    let admin = AdminServer::new(metrics.clone(), readiness.clone());
    let admin = admin
        .log_filter(telemetry.log_filter())
        .bind(options.admin)
        .await?;
    tracing::info!(address = %admin.local_addr(), "admin pages");
    let configds = configds(&options, &drain)?;
    let worker = worker_options(&options, configds, telemetry);
    Worker::start(worker, &metrics, &readiness, &drain).await?;
    let finished = drain.finish();
    let (outcome, ()) = tokio::join!(finished, admin.serve(drain.shut_down()));
    if outcome != DrainOutcome::Clean {
        tracing::warn!(?outcome, "some requests did not end in time");
    }
    Ok(())
}

/// The ways to configd's replicas; each is connected when it is first used, and again whenever a connection ends.
fn configds(options: &WorkerArgs, drain: &Drain) -> anyhow::Result<Configds> {
    let endpoints: anyhow::Result<Vec<Endpoint>> =
        options.configd.iter().map(|url| endpoint(url)).collect();
    let endpoints = endpoints?;
    let mut credentials = None;
    for endpoint in &endpoints {
        credentials = options.tls.for_url(endpoint.uri())?;
    }
    let credentials = credentials.map(|credentials| credentials.require(Role::Worker));
    let credentials = credentials.transpose()?;
    if let Some(credentials) = credentials.clone() {
        let end = drain.clone();
        drain.tasks().spawn("certificates", async move {
            tokio::select! {
                _ = credentials.follow() => {}
                () = end.started() => {}
            }
        });
    }
    let channels = endpoints.iter().map(|endpoint| match &credentials {
        None => endpoint.connect_lazy(),
        Some(credentials) => {
            endpoint.connect_with_connector_lazy(credentials.dialer(Role::Configd))
        }
    });
    Configds::new(channels.collect(), &options.name).context("--configd names no replica")
}

fn endpoint(url: &str) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .with_context(|| format!("--configd {url}: not a URL such as http://host:15010"))?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true))
}

fn worker_options(
    options: &WorkerArgs,
    configds: Configds,
    telemetry: &Telemetry,
) -> WorkerOptions {
    let policy = match options.when_taken {
        WhenTaken::Refuse => BindPolicy::Exact,
        WhenTaken::Next => BindPolicy::NextFree,
    };
    WorkerOptions {
        configds,
        pool: options.pool.as_str().into(),
        name: options.name.as_str().into(),
        threads: options.threads,
        ports: PortPolicy {
            address: options.bind,
            policy,
            privileged_ports: options.privileged_ports,
        },
        last_good: options
            .data_dir
            .as_ref()
            .map(|folder| folder.join("last-good.snapshot")),
        access_log: match options.no_access_log {
            true => AccessLogTo::Nowhere,
            false => AccessLogTo::Stdout,
        },
        traces: telemetry.exports_traces(),
        limits: options.limits.limits(),
        edge: options.edge.clone().into(),
        drain_delay: Duration::from_secs(options.drain_delay_s),
    }
}

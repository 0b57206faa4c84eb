//! The operator as a process of its own: flags, telemetry, admin port, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tidegate_runtime::admin::AdminServer;
use tidegate_runtime::drain::Drain;
use tidegate_runtime::identity::{Credentials, Principal, Role, TlsArgs};
use tidegate_runtime::memory;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tidegate_runtime::telemetry::{LogFormat, Telemetry, TelemetryOptions};

use crate::app::{self, OperatorOptions};
use crate::configd::Configds;
use crate::connect::connect;
use crate::gateway::{Issuer, PoolSettings};
use crate::kinds::CONTROLLER_NAME;
use crate::lease::LeaseOptions;

/// Time for what runs to end after a signal.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// Run the operator of a Kubernetes cluster: feeds its objects to configd, writes statuses back, runs workers for
/// Gateways
#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// Where configd is, such as https://configd:15010; several replicas are separated by commas
    #[arg(
        long,
        env = "TIDEGATE_CONFIGD",
        value_name = "URL,...",
        required = true,
        value_delimiter = ','
    )]
    configd: Vec<String>,
    /// Where workers find configd, if it is elsewhere for them
    #[arg(long, value_name = "URL,...", value_delimiter = ',')]
    worker_configd: Vec<String>,
    /// The name of this cluster at configd; by default that in the certificate
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Seconds that the operator may be silent before configd calls the cluster stale
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(5..=86_400)
    )]
    source_lease_s: u64,
    /// GatewayClasses with this controllerName are ours
    #[arg(
        long,
        default_value = CONTROLLER_NAME,
        value_name = "NAME"
    )]
    controller_name: String,
    /// The image of workers: the one that this operator runs is a good choice
    #[arg(long, env = "TIDEGATE_WORKER_IMAGE", value_name = "IMAGE")]
    worker_image: String,
    /// Certificate of the authority that signs for workers, as PEM; needs --issuer-key
    #[arg(long, value_name = "FILE", requires = "issuer_key")]
    issuer_cert: Option<PathBuf>,
    /// Key of that authority
    #[arg(long, value_name = "FILE", requires = "issuer_cert")]
    issuer_key: Option<PathBuf>,
    /// Unique name of this process
    #[arg(long, env = "HOSTNAME", default_value = "operator")]
    name: String,
    /// Namespace of the Lease that says which of several operators works [default: that of the Pod or kubeconfig]
    #[arg(long, env = "TIDEGATE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
    /// Name of the Lease
    #[arg(long, value_name = "NAME", default_value = "tidegate-operator")]
    lease_name: String,
    /// The ServiceAccount that the Lease goes with; without it, the Lease stays when the operator is removed
    #[arg(long, env = "TIDEGATE_SERVICE_ACCOUNT", value_name = "NAME")]
    lease_owner: Option<String>,
    /// Work at once and without a Lease: no other operator of this cluster may run
    #[arg(long, conflicts_with_all = ["lease_namespace", "lease_name"])]
    without_lease: bool,
    /// Address of the admin port: /livez, /readyz, /metrics
    #[arg(long, default_value = "127.0.0.1:15002", value_name = "ADDR")]
    admin: SocketAddr,
    /// text or json, on stderr
    #[arg(long, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(flatten)]
    tls: TlsArgs,
}

impl OperatorArgs {
    /// Runs until a signal.
    ///
    /// # Errors
    /// With what keeps the operator from starting.
    pub async fn run(self) -> anyhow::Result<()> {
        let telemetry = Telemetry::init(&TelemetryOptions {
            service_name: "tidegate-operator".to_owned(),
            log_format: self.log_format,
            default_filter: "info".to_owned(),
        })?;
        let drain = Drain::new(DRAIN_DEADLINE);
        drain.listen_for_signals()?;
        memory::give_back_regularly();
        let credentials = self.credentials(&drain)?;
        let metrics = Metrics::new("tidegate", "operator", env!("CARGO_PKG_VERSION"));
        let readiness = Readiness::new();
        let server = AdminServer::new(metrics.clone(), readiness.clone())
            .log_filter(telemetry.log_filter())
            .bind(self.admin)
            .await?;
        let end = drain.clone();
        drain.tasks().spawn(
            "admin port",
            server.serve(async move { end.shut_down().await }),
        );
        let options = self.options(credentials.as_ref()).await?;
        tokio::select! {
            started = app::start(options, &metrics, &readiness, &drain) => started?,
            () = drain.started() => {}
        }
        drain.started().await;
        // The admin port goes last.
        drain.shut_down_now();
        drain.finish().await;
        Ok(())
    }

    /// Our own certificate; `None` where configd is reached without.
    fn credentials(&self, drain: &Drain) -> anyhow::Result<Option<Credentials>> {
        let mut credentials = None;
        for url in self.configd.iter().chain(&self.worker_configd) {
            let uri = url
                .parse()
                .with_context(|| format!("{url}: not a URL such as https://host:15010"))?;
            credentials = self.tls.for_url(&uri)?;
        }
        let credentials = credentials
            .map(|own| own.require(Role::Operator))
            .transpose()?;
        if let Some(credentials) = credentials.clone() {
            let end = drain.clone();
            drain.tasks().spawn("certificates", async move {
                tokio::select! {
                    _ = credentials.follow() => {}
                    () = end.started() => {}
                }
            });
        }
        Ok(credentials)
    }

    async fn options(self, credentials: Option<&Credentials>) -> anyhow::Result<OperatorOptions> {
        let source = self.source(credentials)?;
        let issuer = self.issuer(credentials.is_some())?;
        let (client, at_home) = connect().await?;
        let namespace = self.lease_namespace.clone().unwrap_or(at_home);
        let worker_configd = match self.worker_configd.is_empty() {
            true => &self.configd,
            false => &self.worker_configd,
        };
        Ok(OperatorOptions {
            client,
            configds: Configds::new(&self.configd, credentials)?,
            source,
            source_lease: Duration::from_secs(self.source_lease_s),
            name: self.name,
            lease: (!self.without_lease).then_some(LeaseOptions {
                namespace,
                name: self.lease_name,
                owner: self.lease_owner,
            }),
            pools: PoolSettings {
                controller: self.controller_name.into(),
                image: self.worker_image,
                configd: worker_configd.join(","),
                issuer,
            },
        })
    }

    fn source(&self, credentials: Option<&Credentials>) -> anyhow::Result<String> {
        let principal = credentials.map(|own| own.subject().identity.principal);
        let certified = match principal {
            Some(Principal::Operator { source }) => Some(source.to_string()),
            _ => None,
        };
        match (certified, &self.source) {
            (Some(own), Some(asked)) if own != *asked => {
                bail!("--source is {asked}, but the certificate is that of the operator of {own}")
            }
            (Some(own), _) => Ok(own),
            (None, Some(asked)) => Ok(asked.clone()),
            (None, None) => bail!("without a certificate --source must say which cluster this is"),
        }
    }

    fn issuer(&self, is_certified: bool) -> anyhow::Result<Option<Issuer>> {
        match (&self.issuer_cert, &self.issuer_key) {
            (Some(certificate), Some(key)) => {
                let authorities = self.tls.tls_ca.as_deref();
                Ok(Some(Issuer::open(certificate, key, authorities)?))
            }
            _ if is_certified => {
                bail!("workers need certificates, too: give --issuer-cert and --issuer-key")
            }
            _ => Ok(None),
        }
    }
}

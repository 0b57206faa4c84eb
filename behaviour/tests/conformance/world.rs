//! All that a case runs in: configd, a worker, backends, on the loopback interface.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_compiler::{Pooling, Settings};
use tidegate_configd::{Configd, ConfigdHandle, ConfigdOptions, Security};
use tidegate_proto::ir::v1::PartKind;
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyRequest, Object, Operation, operation};
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{GetSnapshotRequest, ListWorkersRequest};
use tidegate_proto::statuses::v1::ListStatusesRequest;
use tidegate_proto::statuses::v1::status_service_client::StatusServiceClient;
use tidegate_runtime::drain::Drain;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tidegate_runtime::tasks::Tasks;
use tidegate_worker::{
    AccessLogTo, BindPolicy, Limits, PortPolicy, Worker, WorkerHandle, WorkerOptions,
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

use crate::backend::Backend;
use crate::case::{BackendSpec, CertificateSpec};
use crate::certificates::Certificates;
use crate::objects::{Generations, Identity};

/// The controller of the GatewayClass.
pub(crate) const CONTROLLER_NAME: &str = "tidegate.dev/gateway-controller";
/// How long a state may take to come about; far more than it takes on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks.
pub(crate) const POLL: Duration = Duration::from_millis(10);

const POOL: &str = "default";

/// A running world.
#[derive(Debug)]
pub(crate) struct World {
    configd: ConfigdHandle,
    worker: WorkerHandle,
    drain: Drain,
    channel: Channel,
    generations: Generations,
    release: watch::Sender<bool>,
    metrics: Metrics,
    /// The Services, by `namespace/name` in order.
    pub(crate) backends: Vec<Backend>,
    /// What TLS runs on.
    pub(crate) certificates: Arc<Certificates>,
    /// What backends and clients run in.
    pub(crate) tasks: Tasks,
    _data: TempDir,
}

/// The parts of a snapshot: kind and name to digest.
pub(crate) type Parts = BTreeMap<String, Bytes>;

impl World {
    /// Starts backends, configd and a worker that has nothing to serve yet.
    pub(crate) async fn start(
        backends: &BTreeMap<String, Option<BackendSpec>>,
        certificates: &BTreeMap<String, CertificateSpec>,
    ) -> anyhow::Result<Self> {
        let tasks = Tasks::new();
        let certificates = Arc::new(Certificates::make(certificates)?);
        let (release, released) = watch::channel(false);
        let mut started = Vec::new();
        for (name, spec) in backends {
            let spec = spec.clone().unwrap_or_default();
            started.push(Backend::start(name, spec, &certificates, &tasks, &released).await?);
        }
        let data = tempfile::tempdir()?;
        let readiness = Readiness::new();
        let configd = Configd::start(ConfigdOptions {
            data_dir: data.path().to_owned(),
            settings: Settings {
                controller_name: CONTROLLER_NAME.to_owned(),
                addresses: vec![Ipv4Addr::LOCALHOST.into()],
                pooling: Pooling::Single {
                    pool: POOL.to_owned(),
                },
            },
            listen: None,
            security: Security::Plaintext,
            seal_keys: None,
            disk_reserve: None,
            highest_level: None,
            cluster: None,
            metrics: Metrics::new("tidegate", "configd", "test"),
            readiness: readiness.clone(),
        })
        .await?;
        let channel = configd.channel();
        let drain = Drain::new(PATIENCE);
        let metrics = Metrics::new("tidegate", "worker", "test");
        let options = worker_options(channel.clone());
        let worker = Worker::start(options, &metrics, &readiness, &drain).await?;
        Ok(Self {
            configd,
            worker,
            drain,
            channel,
            generations: Generations::default(),
            release,
            metrics,
            backends: started,
            certificates,
            tasks,
            _data: data,
        })
    }

    /// Lets backends answer what they hold, and hold nothing from now on.
    pub(crate) fn release(&self) {
        self.release.send_replace(true);
    }

    /// Ends the worker, then configd.
    pub(crate) async fn stop(self) {
        self.drain.start("the case ends");
        self.drain.shut_down_now();
        self.drain.finish().await;
        self.configd.shutdown().await;
    }

    /// Adds, replaces and deletes objects at once, and waits until the worker serves what became of it.
    pub(crate) async fn change(
        &mut self,
        put: &BTreeMap<String, Value>,
        delete: &[String],
    ) -> anyhow::Result<()> {
        let mut operations = Vec::new();
        for (name, body) in put {
            let object = self.generations.object(name, body)?;
            operations.push(operation::Operation::Put(object));
        }
        for name in delete {
            let key = Identity::parse(name)?.key();
            operations.push(operation::Operation::Delete(key));
        }
        let revision = self.apply(operations).await?;
        let serves = async {
            while self.board("").await?.0 < revision {
                sleep(POLL).await;
            }
            let (version, _) = self.parts().await?;
            while self.worker.version() < version {
                sleep(POLL).await;
            }
            anyhow::Ok(())
        };
        match timeout(PATIENCE, serves).await {
            Ok(served) => served,
            Err(_) => bail!("revision {revision} is not served: {}", self.nacks().await?),
        }
    }

    /// Gives an object to configd that it must refuse; gives its message.
    pub(crate) async fn refusal(&self, name: &str, body: &Value) -> anyhow::Result<String> {
        let object: Object = Generations::default().object(name, body)?;
        match self.apply(vec![operation::Operation::Put(object)]).await {
            Ok(_) => bail!("configd took {name}, which is invalid"),
            Err(refusal) if refusal.code() == tonic::Code::InvalidArgument => {
                Ok(refusal.message().to_owned())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn apply(&self, operations: Vec<operation::Operation>) -> Result<u64, tonic::Status> {
        let operations = operations.into_iter().map(|operation| Operation {
            operation: Some(operation),
            precondition: None,
        });
        let request = ApplyRequest {
            source: "cases".to_owned(),
            operations: operations.collect(),
            ..ApplyRequest::default()
        };
        let mut client = ObjectServiceClient::new(self.channel.clone());
        Ok(client.apply(request).await?.into_inner().revision)
    }

    /// The generation of an object as the case has applied it.
    pub(crate) fn generation(&self, name: &str) -> Option<i64> {
        self.generations.get(name)
    }

    /// The status of an object; null without.
    pub(crate) async fn status(&self, name: &str) -> anyhow::Result<Value> {
        Ok(self.board(name).await?.1)
    }

    /// The revision that statuses are about, and the status of an object unless the name is empty.
    async fn board(&self, name: &str) -> anyhow::Result<(u64, Value)> {
        let key = match name {
            "" => Default::default(),
            name => Identity::parse(name)?.key(),
        };
        let request = ListStatusesRequest {
            source: key.source,
            kind: key.kind,
            namespace: key.namespace,
            name: key.name,
        };
        let mut client = StatusServiceClient::new(self.channel.clone());
        let board = client.list_statuses(request).await?.into_inner();
        let status = board.statuses.first();
        let status = status.map(|status| serde_json::from_slice(&status.status));
        Ok((board.revision, status.transpose()?.unwrap_or_default()))
    }

    /// The newest version and its parts; 0 and none where nothing was ever compiled.
    pub(crate) async fn parts(&self) -> anyhow::Result<(u64, Parts)> {
        let request = GetSnapshotRequest {
            pool: POOL.to_owned(),
            version: 0,
        };
        let mut client =
            SnapshotServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        let mut pieces = match client.get_snapshot(request).await {
            Ok(pieces) => pieces.into_inner(),
            Err(status) if status.code() == tonic::Code::NotFound => return Ok((0, Parts::new())),
            Err(status) => return Err(status.into()),
        };
        let (mut version, mut parts) = (0, Parts::new());
        while let Some(piece) = pieces.message().await? {
            let id = piece.info.and_then(|info| info.id);
            version = id.map_or(version, |id| id.version);
            for part in piece.parts {
                parts.insert(
                    format!("{} {}", kind_name(part.kind), part.name),
                    part.digest,
                );
            }
        }
        Ok((version, parts))
    }

    async fn nacks(&self) -> anyhow::Result<String> {
        let mut client = SnapshotServiceClient::new(self.channel.clone());
        let workers = client.list_workers(ListWorkersRequest::default()).await?;
        let workers = workers.into_inner().workers.into_iter();
        let problems = workers
            .filter_map(|worker| worker.last_nack)
            .flat_map(|nack| nack.problems);
        let problems: Vec<_> = problems.map(|problem| problem.message).collect();
        Ok(problems.join("; "))
    }

    /// Where a Gateway's port is bound.
    pub(crate) fn address(&self, gateway: &str, port: u16) -> anyhow::Result<SocketAddr> {
        let prefix = format!("{gateway}/");
        let listeners = self.worker.listeners();
        let mut bound = listeners
            .iter()
            .filter(|bound| bound.port == port && bound.listener.starts_with(&*prefix));
        let bound = bound.next();
        let bound = bound.with_context(|| format!("{gateway} does not listen on port {port}"))?;
        Ok(bound.address)
    }

    /// How many datagrams a listener's port has dropped for a reason.
    pub(crate) fn dropped(&self, port: u16, reason: &str) -> u64 {
        let labels = [
            "tidegate_udp_datagrams_dropped_total{",
            &format!("port=\"{port}\""),
            &format!("reason=\"{reason}\""),
        ];
        let text = self.metrics.encode();
        let fits = |line: &&str| labels.iter().all(|label| line.contains(label));
        let values = text.lines().filter(fits);
        let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        values.sum()
    }

    /// A Service, by its name or `namespace/name`.
    pub(crate) fn backend(&self, name: &str) -> anyhow::Result<&Backend> {
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        let named = |backend: &&Backend| {
            backend.name == name && (namespace.is_empty() || backend.namespace == namespace)
        };
        let found = self.backends.iter().find(named);
        found.with_context(|| format!("the case has no backend {name}"))
    }
}

fn worker_options(channel: Channel) -> WorkerOptions {
    WorkerOptions {
        configds: channel.into(),
        pool: POOL.into(),
        name: "behaviour".into(),
        threads: Some(1),
        ports: PortPolicy {
            address: Ipv4Addr::LOCALHOST.into(),
            policy: BindPolicy::Any,
            privileged_ports: false,
        },
        last_good: None,
        access_log: AccessLogTo::Nowhere,
        traces: false,
        limits: Limits::default(),
        edge: tidegate_worker::Edge::default(),
        drain_delay: Duration::ZERO,
    }
}

/// `PART_KIND_ENDPOINT_SET` as `endpoint_set`.
fn kind_name(kind: i32) -> String {
    let kind = PartKind::try_from(kind).unwrap_or_default();
    kind.as_str_name()
        .trim_start_matches("PART_KIND_")
        .to_lowercase()
}

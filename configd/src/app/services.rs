//! The services of a configd, what they share, and what runs beside them.

use std::sync::Arc;
use std::time::Duration;

use tidegate_compiler::Settings;
use tidegate_proto::DESCRIPTORS;
use tidegate_proto::cluster::v1::cluster_service_server::ClusterServiceServer;
use tidegate_proto::explain::v1::explain_service_server::ExplainServiceServer;
use tidegate_proto::history::v1::history_service_server::HistoryServiceServer;
use tidegate_proto::objects::v1::object_service_server::ObjectServiceServer;
use tidegate_proto::plans::v1::plan_service_server::PlanServiceServer;
use tidegate_proto::rollouts::v1::rollout_service_server::RolloutServiceServer;
use tidegate_proto::snapshots::v1::snapshot_service_server::SnapshotServiceServer;
use tidegate_proto::sources::v1::source_service_server::SourceServiceServer;
use tidegate_proto::statuses::v1::status_service_server::StatusServiceServer;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Condition;
use tidegate_runtime::tasks::Tasks;
use tidegate_store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::layer::util::{Identity, Stack};
use tracing::{error, info};

use super::ConfigdError;
use crate::audit::AuditLog;
use crate::call::Gate;
use crate::checked::CheckedObjects;
use crate::cluster::{Forward, Leader, touch};
use crate::feed::{Bulk, WholeSnapshots};
use crate::fleet::Fleet;
use crate::fleet::gather::Gather;
use crate::listen::{self, Security};
use crate::metrics::{PublisherMetrics, StateMetrics};
use crate::progress::Progress;
use crate::publisher::Term;
use crate::rollout::Rollouts;
use crate::rpc::MESSAGE_BYTES_MAX;
use crate::rpc::cluster::ClusterEditor;
use crate::rpc::explain::Explainer;
use crate::rpc::history::HistoryEditor;
use crate::rpc::objects::Objects;
use crate::rpc::plans::Planner;
use crate::rpc::recorder::Recorder;
use crate::rpc::rollouts::RolloutEditor;
use crate::rpc::snapshots::Snapshots;
use crate::rpc::sources::Sources;
use crate::rpc::statuses::StatusReader;
use crate::sealing::Sealing;
use crate::sources::Watchman;
use crate::statuses::Statuses;
use crate::transport::InProcess;

/// Bytes of a frame, at most: a batch comes in a few, and not in many of 16 KiB.
const FRAME_BYTES_MAX: u32 = 256 << 10;
/// Streams on one connection.
const STREAMS_MAX: u32 = 1_024;

/// Time between two lines of the log while this configd waits for a leader.
const READY_ROUND: Duration = Duration::from_secs(10);

/// A peer that does not answer a ping for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What the services share.
pub(super) struct Services {
    pub(super) store: Store,
    pub(super) fleet: Fleet,
    pub(super) statuses: Arc<Statuses>,
    pub(super) settings: Settings,
    pub(super) watchman: Watchman,
    pub(super) audit: AuditLog,
    pub(super) sealing: Sealing,
    pub(super) checked: CheckedObjects,
    /// The way to the leader; `None` for a configd that is alone.
    pub(super) leader: Option<Leader>,
    pub(super) tasks: Tasks,
    pub(super) end: CancellationToken,
}

impl Services {
    pub(super) async fn serve(
        &self,
        listener: Option<TcpListener>,
        security: Security,
    ) -> Result<InProcess, ConfigdError> {
        let routes = self.routes().await?;
        let (in_process, connections) = InProcess::new();
        let end = self.end.clone();
        let local = self.server().add_routes(routes.clone());
        self.tasks.spawn("gRPC in process", async move {
            let served = local.serve_with_incoming_shutdown(connections, end.cancelled_owned());
            report(served.await);
        });
        if let Some(listener) = listener {
            let end = self.end.clone();
            let network = self.server().add_routes(routes);
            let proof = (security, None);
            let incoming = listen::connections(listener, proof, &self.tasks, end.clone());
            self.tasks.spawn("gRPC", async move {
                report(
                    network
                        .serve_with_incoming_shutdown(incoming, end.cancelled_owned())
                        .await,
                );
            });
        }
        Ok(in_process)
    }

    fn server(&self) -> Server<Stack<Forward, Stack<Gate, Identity>>> {
        let forward = Forward::new(self.leader.clone(), self.end.clone());
        Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .layer(Gate::new(self.audit.clone(), self.tasks.clone()))
            .layer(forward)
    }

    async fn routes(&self) -> Result<Routes, ConfigdError> {
        let progress = Progress {
            store: self.store.clone(),
            statuses: self.statuses.clone(),
            fleet: self.fleet.clone(),
            end: self.end.clone(),
        };
        let snapshots = Snapshots {
            store: self.store.clone(),
            fleet: self.fleet.clone(),
            bulk: Bulk::default(),
            whole: WholeSnapshots::default(),
            progress: progress.clone(),
            audit: self.audit.clone(),
            sealing: self.sealing.clone(),
            in_touch: self.look_for_the_cluster(),
            tasks: self.tasks.clone(),
            end: self.end.clone(),
        };
        let statuses = StatusReader {
            store: self.store.clone(),
            statuses: self.statuses.clone(),
            fleet: self.fleet.clone(),
            tasks: self.tasks.clone(),
            end: self.end.clone(),
        };
        let (objects, sources) = self.of_objects(progress.clone());
        let statuses =
            StatusServiceServer::new(statuses).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let history = HistoryServiceServer::new(HistoryEditor {
            store: self.store.clone(),
            fleet: self.fleet.clone(),
            sealing: self.sealing.clone(),
        })
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let planner = Planner {
            store: self.store.clone(),
            settings: self.settings.clone(),
            sealing: self.sealing.clone(),
            plans: Arc::default(),
            progress,
        };
        let explainer = Explainer::new(planner.clone(), self.fleet.clone(), self.tasks.clone());
        let plans = PlanServiceServer::new(planner)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let rollouts = RolloutServiceServer::new(RolloutEditor {
            store: self.store.clone(),
            fleet: self.fleet.clone(),
            sealing: self.sealing.clone(),
        });
        let cluster = ClusterServiceServer::new(ClusterEditor {
            store: self.store.clone(),
        });
        let explainer =
            ExplainServiceServer::new(explainer).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let health = health().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(ConfigdError::Reflection)?;
        Ok(Routes::new(objects)
            .add_service(SnapshotServiceServer::new(snapshots))
            .add_service(statuses)
            .add_service(history)
            .add_service(plans)
            .add_service(rollouts)
            .add_service(explainer)
            .add_service(cluster)
            .add_service(sources)
            .add_service(health)
            .add_service(reflection))
    }

    /// What takes objects in, and what knows where they come from.
    fn of_objects(
        &self,
        progress: Progress,
    ) -> (ObjectServiceServer<Objects>, SourceServiceServer<Sources>) {
        let recorder = Recorder {
            store: self.store.clone(),
            audit: self.audit.clone(),
            tasks: self.tasks.clone(),
        };
        let sources = SourceServiceServer::new(Sources {
            recorder: recorder.clone(),
            watchman: self.watchman.clone(),
        });
        let objects = Objects::new(
            recorder,
            progress,
            (self.sealing.clone(), self.checked.clone()),
            self.tasks.clone(),
            self.end.clone(),
        );
        let objects = ObjectServiceServer::new(objects)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        (objects, sources)
    }

    pub(super) fn publish(&self, metrics: &Metrics) {
        let term = Term {
            store: self.store.clone(),
            read: (self.sealing.clone(), self.checked.clone()),
            settings: self.settings.clone(),
            statuses: self.statuses.clone(),
            metrics: PublisherMetrics::new(metrics),
        };
        self.tasks
            .spawn("publisher", term.run_whenever_leading(self.end.clone()));
    }

    /// Learns which workers the other replicas serve, and says that this one is ready once it knows what was written
    /// before.
    pub(super) fn meet_the_others(&self, security: Security, ready: Condition) {
        let gather = Gather::new(self.store.clone(), security, self.fleet.clone());
        self.tasks.spawn("fleet", gather.run(self.end.clone()));
        let (store, end) = (self.store.clone(), self.end.clone());
        self.tasks.spawn("readiness", async move {
            let reading = async {
                while store.ready(READY_ROUND).await.is_err() {
                    info!("Waiting for a leader and for what was written before.");
                }
            };
            if end.run_until_cancelled(reading).await.is_some() {
                ready.set();
            }
        });
    }

    /// Whether this configd is in touch with its cluster, from now on.
    fn look_for_the_cluster(&self) -> watch::Receiver<bool> {
        let (touch, in_touch) = watch::channel(true);
        if self.leader.is_some() {
            let looking = touch::keep_current(self.store.clone(), touch, self.end.clone());
            self.tasks.spawn("touch", looking);
        }
        in_touch
    }

    pub(super) fn roll_out(&self) {
        let rollouts = Rollouts::new(
            (self.store.clone(), self.sealing.clone()),
            self.fleet.clone(),
            self.audit.clone(),
        );
        self.tasks.spawn("rollouts", rollouts.run(self.end.clone()));
    }

    pub(super) fn watch_sources(&self) {
        let (watchman, store) = (self.watchman.clone(), self.store.clone());
        let watch = watchman.run(store, self.audit.clone(), self.end.clone());
        self.tasks.spawn("sources", watch);
    }

    /// Keeps the gauges current; a scrape a second late is no worse than a scrape.
    pub(super) fn measure(&self, metrics: &Metrics) {
        let gauges = StateMetrics::new(metrics);
        let (store, fleet, end) = (self.store.clone(), self.fleet.clone(), self.end.clone());
        let watchman = self.watchman.clone();
        self.tasks.spawn("gauges", async move {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            while end.run_until_cancelled(second.tick()).await.is_some() {
                gauges.update(&store, &fleet, &watchman);
            }
        });
    }
}

/// Says of each service that it serves.
async fn health() -> HealthServer<impl Health> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ObjectServiceServer<Objects>>().await;
    reporter
        .set_serving::<SnapshotServiceServer<Snapshots>>()
        .await;
    reporter
        .set_serving::<StatusServiceServer<StatusReader>>()
        .await;
    reporter
        .set_serving::<HistoryServiceServer<HistoryEditor>>()
        .await;
    reporter.set_serving::<PlanServiceServer<Planner>>().await;
    reporter
        .set_serving::<ClusterServiceServer<ClusterEditor>>()
        .await;
    reporter
        .set_serving::<RolloutServiceServer<RolloutEditor>>()
        .await;
    reporter.set_serving::<SourceServiceServer<Sources>>().await;
    reporter
        .set_serving::<ExplainServiceServer<Explainer>>()
        .await;
    health
}

fn report(served: Result<(), tonic::transport::Error>) {
    match served {
        Ok(()) => info!("gRPC services stopped."),
        Err(error) => error!(error = crate::error::chain(&error), "gRPC services failed."),
    }
}

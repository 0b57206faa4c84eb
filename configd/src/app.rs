//! Wires store, publisher and services together; the one place that knows all of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_compiler::Settings;
use tidegate_proto::DESCRIPTORS;
use tidegate_proto::cluster::v1::cluster_service_server::ClusterServiceServer;
use tidegate_proto::history::v1::history_service_server::HistoryServiceServer;
use tidegate_proto::objects::v1::object_service_server::ObjectServiceServer;
use tidegate_proto::plans::v1::plan_service_server::PlanServiceServer;
use tidegate_proto::rollouts::v1::rollout_service_server::RolloutServiceServer;
use tidegate_proto::snapshots::v1::snapshot_service_server::SnapshotServiceServer;
use tidegate_proto::sources::v1::source_service_server::SourceServiceServer;
use tidegate_proto::statuses::v1::status_service_server::StatusServiceServer;
use tidegate_runtime::identity::Credentials;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::{Condition, Readiness};
use tidegate_runtime::seal::SealKeys;
use tidegate_runtime::tasks::Tasks;
use tidegate_store::{OpenOptions, Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Channel, Server};
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::layer::util::{Identity, Stack};
use tracing::{error, info, warn};

use crate::audit::{self, AuditError, AuditLog};
use crate::call::Gate;
use crate::cluster::{Forward, Leader, PeerOptions, PeerPort, open, touch};
use crate::fleet::Fleet;
use crate::fleet::gather::Gather;
use crate::listen::{self, Security};
use crate::metrics::{PublisherMetrics, StateMetrics};
use crate::progress::Progress;
use crate::publisher::Term;
use crate::rollout::Rollouts;
use crate::rpc::MESSAGE_BYTES_MAX;
use crate::rpc::cluster::ClusterEditor;
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

/// Streams on one connection.
const STREAMS_MAX: u32 = 1_024;

/// Time between two lines of the log while this configd waits for a leader.
const READY_ROUND: Duration = Duration::from_secs(10);

/// A peer that does not answer a ping for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a configd needs to start.
#[derive(Debug)]
pub struct ConfigdOptions {
    /// Where everything that must survive is kept.
    pub data_dir: PathBuf,
    /// How objects become snapshots.
    pub settings: Settings,
    /// Where the gRPC services listen; `None` serves this process alone.
    pub listen: Option<SocketAddr>,
    /// How clients prove there who they are.
    pub security: Security,
    /// What seals private keys in the store; `None` leaves them in the clear.
    pub seal_keys: Option<SealKeys>,
    /// How it takes part in a cluster; `None` for a configd that is alone.
    pub cluster: Option<PeerOptions>,
    /// Bytes that are kept free on its disk; below that no write is taken. `None` for 64 MiB.
    pub disk_reserve: Option<u64>,
    /// Counts go here.
    pub metrics: Metrics,
    /// Gets a condition that is met when the store is open, the services listen, and what was written before has been
    /// applied.
    pub readiness: Readiness,
}

/// Why a configd did not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigdError {
    /// The store did not open.
    #[error("cannot open the store")]
    OpenStore(#[source] StoreError),
    /// What is sealed in the store cannot be opened.
    #[error(
        "the store holds private keys that cannot be opened, and without them listeners lose their certificates"
    )]
    Sealed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The audit log did not open.
    #[error(
        "cannot open the audit log; `tidegate audit verify` says more, and moving its folder away starts a new one"
    )]
    OpenAudit(#[source] AuditError),
    /// The gRPC address is not to be had.
    #[error(
        "cannot listen on {address} for gRPC; stop what uses it, or choose another address with --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The peer address is not to be had.
    #[error(
        "cannot listen on {address} for other configds; stop what uses it, or choose another address with \
         --peer-listen"
    )]
    ListenForPeers {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The generated descriptors do not describe the services; a mistake of the build.
    #[error("cannot describe the services for reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// Starts configd.
#[derive(Debug)]
pub struct Configd;

/// A running configd.
#[derive(Debug)]
pub struct ConfigdHandle {
    store: Store,
    in_process: InProcess,
    address: Option<SocketAddr>,
    peers: Option<PeerPort>,
    tasks: Tasks,
    end: CancellationToken,
}

impl Configd {
    /// Opens the store, starts the publisher and serves.
    ///
    /// # Errors
    /// The data directory must be usable and the address free.
    pub async fn start(options: ConfigdOptions) -> Result<ConfigdHandle, ConfigdError> {
        let ready = options
            .readiness
            .condition("configd", "the store is not open yet");
        let listener = bind(options.listen).await?;
        let address = listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        let audit_dir = options.data_dir.join(audit::FOLDER);
        let (tasks, end) = (Tasks::new(), CancellationToken::new());
        // Until it has started; then its handle ends what runs.
        let unless_started = end.clone().drop_guard();
        if let Security::MutualTls(credentials) = &options.security {
            follow_certificates(&tasks, credentials.clone(), end.clone());
        }
        let mut opening = OpenOptions::new(options.data_dir);
        opening.free_bytes_min = options.disk_reserve.unwrap_or(opening.free_bytes_min);
        let (store, peers) = match options.cluster {
            None => {
                let store = Store::open(opening).await;
                (store.map_err(ConfigdError::OpenStore)?, None)
            }
            Some(cluster) => {
                let opened = open::member(opening, cluster, &options.security, address);
                // On the heap: founding a cluster is many steps, and most configds are alone.
                let (store, peers) = Box::pin(opened).await?;
                (store, Some(peers))
            }
        };
        let sealing = Sealing::new(options.seal_keys);
        if let Err(error) = sealing.check(&store) {
            store.shutdown().await;
            return Err(ConfigdError::Sealed(error.into()));
        }
        let leader = peers
            .is_some()
            .then(|| Leader::new(store.clone(), options.security.clone()));
        let audit = AuditLog::open(&audit_dir, &tasks).map_err(ConfigdError::OpenAudit)?;
        let services = Services {
            store: store.clone(),
            fleet: Fleet::default(),
            statuses: Arc::new(Statuses::new()),
            settings: options.settings,
            watchman: Watchman::default(),
            audit,
            sealing,
            leader,
            tasks,
            end,
        };
        let in_process = services.serve(listener, options.security.clone()).await?;
        services.publish(&options.metrics);
        services.roll_out();
        services.watch_sources();
        services.measure(&options.metrics);
        match peers.is_some() {
            true => services.meet_the_others(options.security, ready),
            false => ready.set(),
        }
        unless_started.disarm();
        let Services { tasks, end, .. } = services;
        Ok(ConfigdHandle {
            store,
            in_process,
            address,
            peers,
            tasks,
            end,
        })
    }
}

impl ConfigdHandle {
    /// A connection to the services that does not leave the process.
    pub fn channel(&self) -> Channel {
        self.in_process.channel()
    }

    /// Where the services listen.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Ends every stream, waits for what runs and closes the store.
    ///
    /// A leader hands over first, so that nobody waits for an election.
    pub async fn shutdown(self) {
        match self.store.hand_over().await {
            Ok(Some(next)) => info!(node = next, "Leadership is handed over."),
            Ok(None) => {}
            Err(error) => {
                let cause = crate::error::chain(&error);
                warn!(
                    cause,
                    "Leadership is not handed over; the others elect a leader."
                );
            }
        }
        self.end.cancel();
        self.tasks.wait().await;
        self.store.shutdown().await;
        if let Some(peers) = self.peers {
            peers.closed().await;
        }
    }
}

async fn bind(address: Option<SocketAddr>) -> Result<Option<TcpListener>, ConfigdError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let bound = TcpListener::bind(address).await;
    bound
        .map(Some)
        .map_err(|source| ConfigdError::Listen { address, source })
}

/// What the services share.
struct Services {
    store: Store,
    fleet: Fleet,
    statuses: Arc<Statuses>,
    settings: Settings,
    watchman: Watchman,
    audit: AuditLog,
    sealing: Sealing,
    /// The way to the leader; `None` for a configd that is alone.
    leader: Option<Leader>,
    tasks: Tasks,
    end: CancellationToken,
}

impl Services {
    async fn serve(
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
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .layer(Gate::new(self.audit.clone()))
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
            self.sealing.clone(),
            self.tasks.clone(),
            self.end.clone(),
        );
        let objects = ObjectServiceServer::new(objects)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        (objects, sources)
    }

    fn publish(&self, metrics: &Metrics) {
        let term = Term {
            store: self.store.clone(),
            sealing: self.sealing.clone(),
            settings: self.settings.clone(),
            statuses: self.statuses.clone(),
            metrics: PublisherMetrics::new(metrics),
        };
        self.tasks
            .spawn("publisher", term.run_whenever_leading(self.end.clone()));
    }

    /// Learns which workers the other replicas serve, and says that this one is ready once it knows what was written
    /// before.
    fn meet_the_others(&self, security: Security, ready: Condition) {
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

    fn roll_out(&self) {
        let rollouts = Rollouts::new(self.store.clone(), self.fleet.clone(), self.sealing.clone());
        self.tasks.spawn("rollouts", rollouts.run(self.end.clone()));
    }

    fn watch_sources(&self) {
        let (watchman, store) = (self.watchman.clone(), self.store.clone());
        let watch = watchman.run(store, self.audit.clone(), self.end.clone());
        self.tasks.spawn("sources", watch);
    }

    /// Keeps the gauges current; a scrape a second late is no worse than a scrape.
    fn measure(&self, metrics: &Metrics) {
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

fn follow_certificates(tasks: &Tasks, credentials: Credentials, end: CancellationToken) {
    tasks.spawn("certificates", async move {
        end.run_until_cancelled(credentials.follow()).await;
    });
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
    health
}

fn report(served: Result<(), tonic::transport::Error>) {
    match served {
        Ok(()) => info!("gRPC services stopped."),
        Err(error) => error!(error = crate::error::chain(&error), "gRPC services failed."),
    }
}

//! Wires store, publisher and services together; the one place that knows all of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_compiler::Settings;
use tidegate_proto::DESCRIPTORS;
use tidegate_proto::cluster::v1::cluster_service_server::ClusterServiceServer;
use tidegate_proto::objects::v1::object_service_server::ObjectServiceServer;
use tidegate_proto::snapshots::v1::snapshot_service_server::SnapshotServiceServer;
use tidegate_proto::statuses::v1::status_service_server::StatusServiceServer;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::{Condition, Readiness};
use tidegate_runtime::tasks::Tasks;
use tidegate_store::{OpenOptions, Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Channel, Server};
use tracing::{error, info};

use crate::cluster::{Leader, PeerOptions, PeerStart, join, touch};
use crate::fleet::Fleet;
use crate::fleet::gather::Gather;
use crate::metrics::{PublisherMetrics, StateMetrics};
use crate::publisher::Term;
use crate::rpc::MESSAGE_BYTES_MAX;
use crate::rpc::cluster::Cluster;
use crate::rpc::objects::Objects;
use crate::rpc::snapshots::Snapshots;
use crate::rpc::statuses::StatusReader;
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
    /// How it takes part in a cluster; `None` for a configd that is alone.
    pub cluster: Option<PeerOptions>,
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
        let asked = options
            .cluster
            .as_ref()
            .and_then(|peers| match &peers.start {
                PeerStart::Join(members) => Some(members.clone()),
                PeerStart::Found(_) => None,
            });
        let cluster = match options.cluster {
            Some(peers) => Some(peers.bind(address).await?),
            None => None,
        };
        let own = cluster
            .as_ref()
            .map(|cluster| cluster.member.peer_address.clone());
        let is_alone = cluster.is_none();
        // On the heap: founding a cluster is many steps, and most configds are alone.
        let store = Box::pin(Store::open(OpenOptions {
            cluster,
            ..OpenOptions::new(options.data_dir)
        }));
        let store = tokio::select! {
            store = store => store.map_err(ConfigdError::OpenStore)?,
            never = join::ask_for_a_place(asked.unwrap_or_default(), own.unwrap_or_default()) => match never {},
        };
        let services = Services {
            store: store.clone(),
            fleet: Fleet::default(),
            statuses: Arc::new(Statuses::new()),
            tasks: Tasks::new(),
            end: CancellationToken::new(),
        };
        let in_process = services.serve(listener).await?;
        services.publish(options.settings, &options.metrics);
        services.measure(&options.metrics);
        services.gather();
        match is_alone {
            true => ready.set(),
            false => services.announce(ready),
        }
        Ok(ConfigdHandle {
            store,
            in_process,
            address,
            tasks: services.tasks,
            end: services.end,
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
    pub async fn shutdown(self) {
        self.end.cancel();
        self.tasks.wait().await;
        self.store.shutdown().await;
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
    tasks: Tasks,
    end: CancellationToken,
}

impl Services {
    async fn serve(&self, listener: Option<TcpListener>) -> Result<InProcess, ConfigdError> {
        let routes = self.routes().await?;
        let (in_process, connections) = InProcess::new();
        let end = self.end.clone();
        let local = server().add_routes(routes.clone());
        self.tasks.spawn("gRPC in process", async move {
            let served = local.serve_with_incoming_shutdown(connections, end.cancelled_owned());
            report(served.await);
        });
        if let Some(listener) = listener {
            let end = self.end.clone();
            let network = server().add_routes(routes);
            let incoming = TcpListenerStream::new(listener);
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

    async fn routes(&self) -> Result<Routes, ConfigdError> {
        let leader = Leader::new(self.store.clone());
        let cluster = Cluster {
            store: self.store.clone(),
            leader: leader.clone(),
        };
        let snapshots = Snapshots {
            store: self.store.clone(),
            leader: leader.clone(),
            fleet: self.fleet.clone(),
            in_touch: self.look_for_the_cluster(),
            tasks: self.tasks.clone(),
            end: self.end.clone(),
        };
        let statuses = StatusReader {
            leader,
            statuses: self.statuses.clone(),
            fleet: self.fleet.clone(),
            tasks: self.tasks.clone(),
            end: self.end.clone(),
        };
        let objects = ObjectServiceServer::new(Objects::new(self.store.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let statuses =
            StatusServiceServer::new(statuses).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let cluster = ClusterServiceServer::new(cluster);
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<ObjectServiceServer<Objects>>().await;
        reporter
            .set_serving::<SnapshotServiceServer<Snapshots>>()
            .await;
        reporter
            .set_serving::<StatusServiceServer<StatusReader>>()
            .await;
        reporter
            .set_serving::<ClusterServiceServer<Cluster>>()
            .await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(ConfigdError::Reflection)?;
        Ok(Routes::new(objects)
            .add_service(SnapshotServiceServer::new(snapshots))
            .add_service(statuses)
            .add_service(cluster)
            .add_service(health)
            .add_service(reflection))
    }

    fn publish(&self, settings: Settings, metrics: &Metrics) {
        let metrics = PublisherMetrics::new(metrics);
        let statuses = self.statuses.clone();
        let term = Term {
            store: self.store.clone(),
            settings,
            statuses,
            metrics,
        };
        self.tasks
            .spawn("publisher", term.run_whenever_leading(self.end.clone()));
    }

    /// While this configd leads, learns which workers the others serve.
    fn gather(&self) {
        let gather = Gather::new(self.store.clone(), self.fleet.clone());
        self.tasks.spawn("fleet", gather.run(self.end.clone()));
    }

    /// Whether this configd is in touch with its cluster, from now on.
    fn look_for_the_cluster(&self) -> watch::Receiver<bool> {
        let (touch, in_touch) = watch::channel(true);
        let looking = touch::keep_current(self.store.clone(), touch, self.end.clone());
        self.tasks.spawn("touch", looking);
        in_touch
    }

    /// Reports readiness once there is a leader and this replica has what was written before.
    fn announce(&self, ready: Condition) {
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

    /// Keeps the gauges current; a scrape a second late is no worse than a scrape.
    fn measure(&self, metrics: &Metrics) {
        let gauges = StateMetrics::new(metrics);
        let (store, fleet, end) = (self.store.clone(), self.fleet.clone(), self.end.clone());
        self.tasks.spawn("gauges", async move {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            while end.run_until_cancelled(second.tick()).await.is_some() {
                gauges.update(&store, &fleet);
            }
        });
    }
}

fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .tcp_nodelay(true)
}

fn report(served: Result<(), tonic::transport::Error>) {
    match served {
        Ok(()) => info!("gRPC services stopped."),
        Err(error) => error!(error = crate::error::chain(&error), "gRPC services failed."),
    }
}

//! Wires store, publisher and services together; the one place that knows all of them.

mod services;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_compiler::Settings;
use tidegate_runtime::identity::Credentials;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tidegate_runtime::seal::SealKeys;
use tidegate_runtime::tasks::Tasks;
use tidegate_store::{OpenOptions, Store, StoreError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{info, warn};

use crate::audit::{self, AuditError, AuditLog};
use crate::checked::CheckedObjects;
use crate::cluster::{Leader, PeerOptions, PeerPort, open};
use crate::fleet::Fleet;
use crate::listen::{self, Security};
use crate::sealing::Sealing;
use crate::sources::Watchman;
use crate::statuses::Statuses;
use crate::transport::InProcess;
use services::Services;

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
    /// The highest feature level that it takes part in, to be an older release in tests of upgrades; `None` for all that
    /// this one knows.
    pub highest_level: Option<u32>,
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
        let listener = bind(options.listen)?;
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
        opening.highest_level = options.highest_level.unwrap_or(opening.highest_level);
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
            checked: CheckedObjects::default(),
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

fn bind(address: Option<SocketAddr>) -> Result<Option<TcpListener>, ConfigdError> {
    let bound = address.map(|address| {
        listen::bind(address).map_err(|source| ConfigdError::Listen { address, source })
    });
    bound.transpose()
}

fn follow_certificates(tasks: &Tasks, credentials: Credentials, end: CancellationToken) {
    tasks.spawn("certificates", async move {
        end.run_until_cancelled(credentials.follow()).await;
    });
}

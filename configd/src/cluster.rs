//! This configd as one of several: where it listens for the others, and the way to the one that leads.

pub(crate) mod join;
pub(crate) mod touch;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_store::{ClusterOptions, Member, PlainDial, Start, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::app::ConfigdError;

/// Marks what a configd has passed on, so that it is not passed on again.
const PASSED_ON: &str = "tidegate-passed-on";

/// Time to connect to the leader.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How a configd takes part in a cluster.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    /// What it is called; unique in the cluster, 1 to 253 bytes.
    pub name: String,
    /// Where it listens for the others.
    pub listen: SocketAddr,
    /// Where the others reach it; by default where it listens.
    pub address: Option<String>,
    /// Where clients and the other configds reach its gRPC services; by default where they listen.
    pub api_address: Option<String>,
    /// What an empty data directory becomes.
    pub start: PeerStart,
}

/// What an empty data directory becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerStart {
    /// A configd that founds a cluster with those at these peer addresses, the founder's first; with none, alone.
    Found(Vec<String>),
    /// A configd that waits for a place, and asks for it at these gRPC services where there are some.
    Join(Vec<String>),
}

impl PeerOptions {
    /// Listens for the others. `api` is where the gRPC services listen.
    pub(crate) async fn bind(
        self,
        api: Option<SocketAddr>,
    ) -> Result<ClusterOptions, ConfigdError> {
        let failed = |source| ConfigdError::ListenForPeers {
            address: self.listen,
            source,
        };
        let listener = TcpListener::bind(self.listen).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let peer_address = self.address.unwrap_or_else(|| bound.to_string());
        let api = api.map(|address| format!("http://{address}"));
        let start = match self.start {
            PeerStart::Found(founders) if founders.is_empty() => {
                Start::Found(vec![peer_address.clone()])
            }
            PeerStart::Found(founders) => Start::Found(founders),
            PeerStart::Join(_) => Start::Join,
        };
        Ok(ClusterOptions {
            member: Member {
                name: self.name,
                peer_address,
                api_address: self.api_address.or(api).unwrap_or_default(),
            },
            listener,
            // Peers prove nothing to each other yet; this is where they will.
            dial: Arc::new(PlainDial),
            start,
        })
    }
}

/// A request as it is passed on to the leader.
pub(crate) fn passed_on<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert(PASSED_ON, MetadataValue::from_static("1"));
    request
}

/// The way to the gRPC services of the configd that leads. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct Leader {
    store: Store,
    connection: Arc<Mutex<Option<(String, Channel)>>>,
}

impl Leader {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            connection: Arc::default(),
        }
    }

    /// Follows whether this configd leads.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.store.watch_leader()
    }

    /// A channel to the leader; `None` where it is this one.
    ///
    /// # Errors
    /// UNAVAILABLE where nobody leads, where the leader does not say how to reach it, or where another configd took this
    /// one for it.
    pub(crate) fn channel<T>(&self, request: &Request<T>) -> Result<Option<Channel>, Status> {
        if self.store.is_leader() {
            return Ok(None);
        }
        if request.metadata().contains_key(PASSED_ON) {
            return Err(Status::unavailable(
                "this configd does not lead; try again in a moment",
            ));
        }
        let (_, leader) = self
            .store
            .leader()
            .ok_or_else(|| Status::unavailable("no configd leads; try again in a moment"))?;
        let url = leader.api_address;
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((known, channel)) = &*connection
            && *known == url
        {
            return Ok(Some(channel.clone()));
        }
        let name = &leader.name;
        let endpoint = Endpoint::from_shared(url.clone()).map_err(|_| {
            Status::unavailable(format!("the leader {name} cannot be reached at {url:?}"))
        })?;
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect_lazy();
        *connection = Some((url, channel.clone()));
        Ok(Some(channel))
    }
}

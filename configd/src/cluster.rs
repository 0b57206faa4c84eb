//! This configd as one of several: where it listens for the others, and the way to the one that leads.

mod dial;
mod forward;
mod join;
mod leader;
pub(crate) mod open;
mod relay;
pub(crate) mod touch;

use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_runtime::identity::Role;
use tidegate_runtime::tasks::Tasks;
use tidegate_store::{ClusterOptions, Dial, Incoming, Member, PlainDial, Start};
use tokio_util::sync::CancellationToken;

use crate::app::ConfigdError;
use crate::listen::{self, Security};

pub(crate) use dial::services;
pub(crate) use forward::{Forward, LOCAL};
pub(crate) use leader::Leader;

/// How a configd takes part in a cluster. It proves itself to the others as it does to clients.
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

/// The port for other configds. It is open until the store that uses it has stopped.
#[derive(Debug)]
pub(crate) struct PeerPort {
    tasks: Tasks,
}

impl PeerPort {
    /// Waits until nothing of it runs.
    pub(crate) async fn closed(self) {
        self.tasks.wait().await;
    }
}

impl PeerOptions {
    /// Listens for the others. `api` is where the gRPC services listen.
    pub(crate) fn bind(
        self,
        security: &Security,
        api: Option<SocketAddr>,
    ) -> Result<(ClusterOptions, PeerPort), ConfigdError> {
        let failed = |source| ConfigdError::ListenForPeers {
            address: self.listen,
            source,
        };
        let listener = listen::bind(self.listen).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let (scheme, dial): (_, Arc<dyn Dial>) = match security {
            Security::Plaintext => ("http", Arc::new(PlainDial)),
            Security::MutualTls(credentials) => {
                ("https", Arc::new(dial::IdentityDial(credentials.clone())))
            }
        };
        let peer_address = self.address.unwrap_or_else(|| bound.to_string());
        let api = api.map(|address| format!("{scheme}://{address}"));
        let start = match self.start {
            PeerStart::Found(founders) if founders.is_empty() => {
                Start::Found(vec![peer_address.clone()])
            }
            PeerStart::Found(founders) => Start::Found(founders),
            PeerStart::Join(_) => Start::Join,
        };
        let tasks = Tasks::new();
        let proof = (security.clone(), Some(Role::Configd));
        // It ends when the store takes no connection any more.
        let connections = listen::connections(listener, proof, &tasks, CancellationToken::new());
        let options = ClusterOptions {
            member: Member {
                name: self.name,
                peer_address,
                api_address: self.api_address.or(api).unwrap_or_default(),
                ..Member::default()
            },
            incoming: Incoming::new(connections),
            dial,
            start,
        };
        Ok((options, PeerPort { tasks }))
    }
}

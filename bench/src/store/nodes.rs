//! The processes of a store, and a way to the one that takes writes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tonic::transport::{Channel, Endpoint};

use super::Peer;
use crate::process::Process;

/// Longest wait for a store that takes writes.
const TRIES: usize = 150;

/// A running store.
#[derive(Debug)]
pub(super) struct Nodes {
    /// Where clients find each.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) _processes: Vec<Process>,
}

impl Nodes {
    /// A channel to a node that has committed an object. Writes go to one node, of etcd and of ours alike: the first, which
    /// passes them on where it does not lead.
    pub(super) async fn writable(&self, peer: Peer) -> anyhow::Result<Channel> {
        let address = self.addresses.first().context("no node")?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        let mut last = None;
        for _ in 0..TRIES {
            let tried = match endpoint.connect().await {
                Ok(channel) => peer
                    .put(&channel, &["first".to_owned()], 0)
                    .await
                    .map(|()| channel),
                Err(error) => Err(error.into()),
            };
            match tried {
                Ok(channel) => return Ok(channel),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{peer:?} at {address} takes no writes: {last:?}")
    }
}

//! How the first nodes of a cluster find together, before any of them has a log.
//!
//! The node that stands first in the list founds: it waits until all others answer and none of them has a log, gives
//! each its id, and starts the log once all have theirs on the disk. So a node that has lost its disk never gets its old
//! id again: the others have a log by then, and it is told so.

use std::{collections::BTreeMap, path::Path, time::Duration};

use tidegate_proto::raft::v1::{self, peer_service_client::PeerServiceClient};
use tonic::{Request, Status, transport::Channel};

use crate::{
    StoreError,
    directory::Identity,
    member::Member,
    peers::{Dial, member},
};

/// Pause between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(200);
/// Time for one answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// Rounds after which the wait is logged again.
const ROUNDS_TO_A_LINE: u32 = 50;
/// Voters that a cluster may have.
const SIZES: [usize; 3] = [1, 3, 5];

/// Who founds a cluster together: peer addresses, the founder's first.
#[derive(Debug)]
pub(crate) struct Founders<'a> {
    pub(crate) addresses: &'a [String],
    pub(crate) dial: &'a dyn Dial,
    /// The data directory, for messages.
    pub(crate) dir: &'a Path,
}

/// A cluster whose nodes all know their ids.
#[derive(Debug)]
pub(crate) struct Founded {
    pub(crate) identity: Identity,
    pub(crate) members: BTreeMap<u64, Member>,
}

impl Founders<'_> {
    /// Whether the node at this address founds.
    pub(crate) fn founder_is(&self, own: &Member) -> bool {
        self.addresses.first() == Some(&own.peer_address)
    }

    /// Holds the list against what a cluster may be.
    pub(crate) fn check(&self, own: &Member) -> Result<(), StoreError> {
        let refused = |reason: String| Err(StoreError::Founding { reason });
        let mut once = self.addresses.to_vec();
        once.sort();
        once.dedup();
        if once.len() != self.addresses.len() || !SIZES.contains(&once.len()) {
            let list = self.addresses.join(", ");
            return refused(format!(
                "a cluster has 1, 3 or 5 voters at different addresses, not {list}"
            ));
        }
        if !once.contains(&own.peer_address) {
            let (list, own) = (self.addresses.join(", "), &own.peer_address);
            return refused(format!(
                "this node's peer address {own} is not among the first nodes {list}"
            ));
        }
        Ok(())
    }

    /// Founds the cluster, as its first node. With `identity` an earlier attempt was cut off.
    pub(crate) async fn found(
        &self,
        own: &Member,
        identity: Option<Identity>,
    ) -> Result<Founded, StoreError> {
        let mut others = Vec::new();
        for address in &self.addresses[1..] {
            others.push(self.ask_until_it_answers(address).await?);
        }
        let identity = match identity {
            Some(identity) => identity,
            None => self.identity(&others)?,
        };
        let mut members = BTreeMap::from([(identity.node_id, own.clone())]);
        for ((id, address), other) in (2..).zip(&self.addresses[1..]).zip(others) {
            let request = v1::FoundRequest {
                cluster_id: identity.cluster_id.clone(),
                epoch: identity.epoch,
                node_id: id,
            };
            self.found_one(address, request).await?;
            let known = other.member.map(member).unwrap_or_default();
            let peer_address = address.clone();
            members.insert(
                id,
                Member {
                    peer_address,
                    ..known
                },
            );
        }
        Ok(Founded { identity, members })
    }

    /// Fails where the founder is past founding, so that this node's place is gone.
    pub(crate) async fn watch_founder(&self) -> StoreError {
        let Some(founder) = self.addresses.first() else {
            return std::future::pending().await;
        };
        loop {
            if let Ok(answer) = self.identify(founder).await
                && answer.has_log
            {
                return self.exists(founder, answer.cluster_id);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The identity of an attempt that was cut off before the founder wrote down its own, or a new one.
    fn identity(&self, others: &[v1::IdentifyResponse]) -> Result<Identity, StoreError> {
        let mut earlier = others.iter().filter(|other| !other.cluster_id.is_empty());
        let first = Identity::first()?;
        Ok(match earlier.next() {
            Some(other) => Identity::new(first.node_id, other.cluster_id.clone(), other.epoch),
            None => first,
        })
    }

    async fn ask_until_it_answers(
        &self,
        address: &str,
    ) -> Result<v1::IdentifyResponse, StoreError> {
        let mut round: u32 = 0;
        loop {
            match self.identify(address).await {
                Ok(answer) if answer.has_log => {
                    return Err(self.exists(address, answer.cluster_id));
                }
                Ok(answer) => return Ok(answer),
                Err(status) if round.is_multiple_of(ROUNDS_TO_A_LINE) => {
                    let cause = status.message();
                    tracing::info!(
                        address,
                        cause,
                        "waiting for a node to found the cluster with"
                    );
                }
                Err(_) => {}
            }
            round = round.wrapping_add(1);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn identify(&self, address: &str) -> Result<v1::IdentifyResponse, Status> {
        let mut client = self.client(address)?;
        let mut request = Request::new(v1::IdentifyRequest {});
        request.set_timeout(DEADLINE);
        Ok(client.identify(request).await?.into_inner())
    }

    async fn found_one(&self, address: &str, request: v1::FoundRequest) -> Result<(), StoreError> {
        loop {
            let answer = match self.client(address) {
                Ok(mut client) => client.found(request.clone()).await,
                Err(status) => Err(status),
            };
            match answer {
                Ok(_) => return Ok(()),
                Err(refusal) if refusal.code() == tonic::Code::FailedPrecondition => {
                    let reason = format!("{address} refuses: {}", refusal.message());
                    return Err(StoreError::Founding { reason });
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn client(&self, address: &str) -> Result<PeerServiceClient<Channel>, Status> {
        let channel = self.dial.channel(address);
        let channel = channel.map_err(Status::invalid_argument)?;
        Ok(PeerServiceClient::new(channel))
    }

    fn exists(&self, peer: &str, cluster_id: String) -> StoreError {
        StoreError::ClusterExists {
            dir: self.dir.to_owned(),
            peer: peer.to_owned(),
            cluster_id,
        }
    }
}

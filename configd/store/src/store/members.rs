//! Who belongs to the cluster, and how that changes.

use std::{collections::BTreeSet, time::Duration};

use openraft::{
    ChangeMembers, async_runtime::watch::WatchReceiver as _, errors::ClientWriteError,
    errors::RaftError,
};
use tidegate_proto::raft::v1;

use super::Store;
use crate::{
    StoreError,
    disk::DiskSpace,
    level,
    member::Member,
    node::{Node, stopped},
    raft::{Membership, StoredMembership},
};

/// Ids up to this one are given to founders; later ones come from the log.
const FOUNDERS_MAX: u64 = 10;
/// Time for a change of the membership to be committed.
const CHANGE_DEADLINE: Duration = Duration::from_secs(20);
/// Time for another node to lead after a transfer.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(5);

/// What a node is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It votes.
    Voter,
    /// It gets the log and does not vote.
    Learner,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its id, which no other node ever gets.
    pub id: u64,
    /// How it is called and reached.
    pub member: Member,
    /// What it is to the cluster.
    pub role: Role,
    /// Log entries that it has still to get; only the leader knows.
    pub lag: Option<u64>,
    /// Space of its disk; of others only the leader knows, as it was some seconds ago.
    pub disk: Option<DiskSpace>,
}

impl Store {
    /// The nodes of the cluster ordered by id, as far as this node knows.
    pub fn members(&self) -> Vec<MemberStatus> {
        let metrics = self.inner.node.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let last = metrics.last_log_index.unwrap_or_default();
        let lag = |id: u64| match &metrics.replication {
            Some(_) if id == metrics.id => Some(0),
            Some(replication) => {
                let matched = replication.get(&id)?.as_ref().map(|id| id.index + 1);
                Some((last + 1).saturating_sub(matched.unwrap_or_default()))
            }
            None => None,
        };
        let mut disks = self.inner.node.disks();
        disks.extend(self.inner.node.disk().ok().map(|own| (metrics.id, own)));
        let status = |(id, member): (&u64, &Member)| MemberStatus {
            id: *id,
            member: member.clone(),
            role: match voters.contains(id) {
                _ if metrics.current_leader == Some(*id) => Role::Leader,
                true => Role::Voter,
                false => Role::Learner,
            },
            lag: lag(*id),
            disk: disks.get(id).copied(),
        };
        membership.nodes().map(status).collect()
    }

    /// Whether the others say that this node is none of the cluster's, because it was removed or not yet added.
    pub fn is_removed(&self) -> bool {
        *self.inner.node.removed.borrow()
    }

    /// Adds the node that waits at a peer address, as a learner; it becomes a voter once it has caught up. Returns its
    /// id. Only the leader does this.
    ///
    /// # Errors
    ///
    /// [`StoreError::Membership`] where the node does not wait for a place or its name or address is taken,
    /// [`StoreError::NoLeader`], [`StoreError::Uncertain`].
    pub async fn add_member(&self, peer_address: &str) -> Result<u64, StoreError> {
        let node = &self.inner.node;
        let _alone = node.joining.lock().await;
        let upto = node.read_index().await.map_err(super::write::not_here)?;
        // The level may have gone up under another leader.
        node.applied(upto.index, CHANGE_DEADLINE).await?;
        let found = node.network.identify(peer_address).await?;
        let identity = &node.directory.identity;
        let joined = found.cluster_id == identity.cluster_id && found.epoch == identity.epoch;
        if !found.cluster_id.is_empty() && !joined {
            return refused(format!(
                "the node at {peer_address} belongs to cluster {}; empty its data directory first",
                found.cluster_id
            ));
        }
        let member = Member {
            peer_address: peer_address.to_owned(),
            ..found
                .member
                .clone()
                .map(crate::peers::member)
                .unwrap_or_default()
        };
        let (highest, level) = (member.level, self.level());
        if level::told(highest) < level {
            return refused(format!(
                "the node at {peer_address} knows feature levels up to {}, the cluster is at level {level}; start it with \
                 the release of the others",
                level::told(highest)
            ));
        }
        let known = self.members();
        if joined && known.iter().any(|known| known.id == found.node_id) {
            return Ok(found.node_id);
        }
        if joined && found.has_log {
            return refused(format!(
                "node {} at {peer_address} was removed, and an id is never used again; empty its data directory and \
                 start it with --join",
                found.node_id
            ));
        }
        let taken = |known: &&MemberStatus| {
            known.member.name == member.name || known.member.peer_address == peer_address
        };
        if let Some(taken) = known.iter().find(taken) {
            return refused(format!(
                "node {} has this name or address already ({}); remove it first with `tidegate cluster remove {}`",
                taken.id, taken.member, taken.id
            ));
        }
        let id = match joined {
            true => found.node_id,
            false => self.settle_newcomer(peer_address).await?,
        };
        let change = ChangeMembers::AddNodes([(id, member)].into());
        node.change_members(change).await?;
        Ok(id)
    }

    /// Gives a waiting node an id from the log.
    async fn settle_newcomer(&self, peer_address: &str) -> Result<u64, StoreError> {
        let node = &self.inner.node;
        let blank = tokio::time::timeout(CHANGE_DEADLINE, node.raft.write_blank()).await;
        let blank = blank.map_err(|_| slow())?.map_err(change_failed)?;
        let identity = &node.directory.identity;
        let place = v1::FoundRequest {
            cluster_id: identity.cluster_id.clone(),
            epoch: identity.epoch,
            node_id: FOUNDERS_MAX + blank.log_id.index,
        };
        let id = place.node_id;
        node.network.give_place(peer_address, place).await?;
        Ok(id)
    }

    /// Removes a node for good. Only the leader does this, for itself too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Membership`] where there is no such node or it is the last voter, [`StoreError::NoLeader`],
    /// [`StoreError::Uncertain`].
    pub async fn remove_member(&self, id: u64) -> Result<(), StoreError> {
        let node = &self.inner.node;
        node.read_index().await.map_err(super::write::not_here)?;
        let known = self.members();
        let Some(gone) = known.iter().find(|known| known.id == id) else {
            return refused(format!("the cluster has no node {id}"));
        };
        let voters = known.iter().filter(|known| known.role != Role::Learner);
        if gone.role == Role::Learner {
            return node
                .change_members(ChangeMembers::RemoveNodes([id].into()))
                .await;
        }
        if voters.count() == 1 {
            return refused(format!(
                "node {id} is the only voter; the cluster would be gone with it"
            ));
        }
        node.change_members(ChangeMembers::RemoveVoters([id].into()))
            .await
    }

    /// Makes another voter lead, and waits until it does. Only the leader does this.
    ///
    /// # Errors
    ///
    /// [`StoreError::Membership`] where there is no such voter or it did not take over, [`StoreError::NoLeader`].
    pub async fn transfer_leadership(&self, to: u64) -> Result<(), StoreError> {
        let node = &self.inner.node;
        node.read_index().await.map_err(super::write::not_here)?;
        let known = self.members();
        match known.iter().find(|known| known.id == to) {
            Some(known) if known.role == Role::Leader => return Ok(()),
            Some(known) if known.role == Role::Voter => {}
            _ => return refused(format!("the cluster has no voter {to}")),
        }
        node.raft
            .trigger()
            .transfer_leader(to)
            .await
            .map_err(stopped)?;
        let wait = node.raft.wait(Some(TRANSFER_DEADLINE));
        let taken = wait.current_leader(to, "the successor leads").await;
        taken.map(drop).or_else(|_| {
            refused(format!(
                "node {to} did not take over within {} s; it may be cut off or behind",
                TRANSFER_DEADLINE.as_secs()
            ))
        })
    }

    /// Before this node stops: makes the voter lead that lacks the least, so that nobody waits for an election. Returns its
    /// id, or `None` where this node does not lead or is the only voter.
    ///
    /// # Errors
    ///
    /// As [`Store::transfer_leadership`]; then the others elect one after a while.
    pub async fn hand_over(&self) -> Result<Option<u64>, StoreError> {
        if !self.is_leader() {
            return Ok(None);
        }
        let own = self.node_id();
        let voters = self.members().into_iter();
        let voters = voters.filter(|known| known.role == Role::Voter && known.id != own);
        let short = |disk: &Option<DiskSpace>| disk.is_some_and(|disk| disk.is_short());
        let next = voters.min_by_key(|known| (short(&known.disk), known.lag.unwrap_or(u64::MAX)));
        let Some(next) = next else {
            return Ok(None);
        };
        self.transfer_leadership(next.id)
            .await
            .map(|()| Some(next.id))
    }
}

impl Node {
    /// Commits a change of the membership, as the leader, unless another change came between.
    pub(crate) async fn change_members(
        &self,
        change: ChangeMembers<u64, Member>,
    ) -> Result<(), StoreError> {
        let change = self.raft.change_membership(change, false);
        let changed = tokio::time::timeout(CHANGE_DEADLINE, change).await;
        changed
            .map_err(|_| slow())?
            .map(drop)
            .map_err(change_failed)
    }

    /// The membership that this node knows to be committed.
    pub(crate) fn committed_members(&self) -> (u64, Vec<u64>) {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let stored: &StoredMembership = &metrics.committed_membership_config;
        let membership: &Membership = stored.membership();
        let ids = membership.nodes().map(|(id, _)| *id).collect();
        (stored.log_id().map_or(0, |id| id.index), ids)
    }
}

fn refused<T>(reason: String) -> Result<T, StoreError> {
    Err(StoreError::Membership { reason })
}

fn slow() -> StoreError {
    StoreError::Uncertain {
        reason: format!(
            "no quorum confirmed the change within {} s",
            CHANGE_DEADLINE.as_secs()
        ),
    }
}

fn change_failed(
    error: RaftError<crate::raft::TypeConfig, ClientWriteError<crate::raft::TypeConfig>>,
) -> StoreError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => StoreError::NoLeader {
            hint: to.leader_node,
        },
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => StoreError::Uncertain {
            reason: "this node lost its lead before a quorum had confirmed the change".to_owned(),
        },
        RaftError::APIError(other) => StoreError::Membership {
            reason: other.to_string(),
        },
        fatal => stopped(fatal),
    }
}

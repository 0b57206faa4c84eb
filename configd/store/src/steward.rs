//! What a node sees to by itself: that learners that have caught up vote, that the others know how it is reached,
//! that it notices when it was removed, and that a leader knows whose disk is full and which feature levels all know.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use openraft::{ChangeMembers, async_runtime::watch::WatchReceiver as _};
use tokio::task::JoinHandle;

use crate::{disk::DiskSpace, level, member::Member, node::Node};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Rounds after which a node that does not lead asks the others whether it is still one of them, and one that leads how
/// much space they have.
const ROUNDS_TO_A_LOOK: u32 = 3;
/// Rounds after which a node says again how it is reached. A leader of an older release does not write down all of it.
const ROUNDS_TO_TELL_AGAIN: u32 = 10;
/// Time for a member to say how much space it has.
const LOOK_DEADLINE: Duration = Duration::from_secs(1);
/// Log entries that a learner may lack to become a voter.
const LAG_MAX: u64 = 100;
/// Voters, at most; further nodes stay learners.
const VOTERS_MAX: usize = 5;

/// Looks after one node until it is gone.
pub(crate) struct Steward {
    node: Weak<Node>,
    own: Member,
    rounds: u32,
    /// Whether the node led in the last round.
    led: bool,
    /// Rounds until it tells again how it is reached.
    told_for: u32,
}

impl Steward {
    pub(crate) fn start(node: &Arc<Node>, own: Member) -> JoinHandle<()> {
        let steward = Self {
            node: Arc::downgrade(node),
            own,
            rounds: 0,
            led: false,
            told_for: 0,
        };
        #[allow(
            clippy::disallowed_methods,
            reason = "the store may not use the runtime crate, and ends the task when it shuts down"
        )]
        tokio::spawn(steward.run())
    }

    async fn run(mut self) {
        loop {
            tokio::time::sleep(ROUND).await;
            let Some(node) = self.node.upgrade() else {
                return;
            };
            self.round(&node).await;
        }
    }

    async fn round(&mut self, node: &Node) {
        let own_id = node.directory.identity.node_id;
        self.rounds = self.rounds.wrapping_add(1);
        if node.raft.current_leader().await == Some(own_id) {
            node.removed.send_replace(false);
            promote(node).await;
            if !self.led || self.rounds.is_multiple_of(ROUNDS_TO_A_LOOK) {
                let levels = look_at_members(node, own_id).await;
                node.raise_level(&levels).await;
            }
            self.led = true;
            self.introduce(node, own_id).await;
            return;
        }
        if std::mem::take(&mut self.led) {
            node.set_disks(BTreeMap::new());
        }
        if self.rounds.is_multiple_of(ROUNDS_TO_A_LOOK)
            && let Some(removed) = is_removed(node, own_id).await
            && node.removed.send_replace(removed) != removed
            && removed
        {
            let why = "the others say that it is none of them";
            tracing::error!(node = own_id, why, "this node is no member of its cluster");
        }
        self.introduce(node, own_id).await;
    }

    /// Has the leader write down how this node is reached, where that has changed.
    async fn introduce(&mut self, node: &Node, own_id: u64) {
        let known = {
            let metrics = node.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let membership = metrics.membership_config.membership();
            membership.get_node(&own_id).cloned()
        };
        if known.is_none_or(|known| known == self.own) {
            return;
        }
        self.told_for = self.told_for.saturating_sub(1);
        if self.told_for > 0 {
            return;
        }
        match node.introduce(own_id, self.own.clone()).await {
            Ok(()) => self.told_for = ROUNDS_TO_TELL_AGAIN,
            Err(error) => {
                tracing::warn!(%error, "the others do not know yet how this node is reached");
            }
        }
    }
}

/// Asks every member how much space it has, so that nothing is written that no majority could confirm, and which feature
/// levels it knows, which it returns.
async fn look_at_members(node: &Node, own_id: u64) -> BTreeMap<u64, u32> {
    let before = node.disks();
    let others = others(node, own_id);
    let asked = others.iter().map(|(id, other)| async move {
        let asking = node.network.identify(&other.peer_address);
        let found = tokio::time::timeout(LOOK_DEADLINE, asking).await;
        let found = found.ok()?.ok()?;
        let disk = found.disk.map(|disk| DiskSpace {
            free: disk.free,
            reserve: disk.reserve,
        });
        let is_it =
            (&found.cluster_id, found.node_id) == (&node.directory.identity.cluster_id, *id);
        let level = level::told(found.member.unwrap_or_default().level);
        Some((*id, disk, is_it.then_some(level)))
    });
    let found = futures_util::future::join_all(asked).await;
    let found = || found.iter().flatten();
    let disks = found().filter_map(|(id, disk, _)| Some((*id, (*disk)?)));
    let mut disks: BTreeMap<u64, DiskSpace> = disks.collect();
    disks.extend(node.disk().ok().map(|own| (own_id, own)));
    for (id, disk) in &disks {
        let was_short = before.get(id).is_some_and(DiskSpace::is_short);
        match (was_short, disk.is_short()) {
            (false, true) => {
                let (free, reserve) = (disk.free, disk.reserve);
                tracing::error!(node = id, free, reserve, "a disk is full");
            }
            (true, false) => tracing::info!(node = id, "a disk has space again"),
            _ => {}
        }
    }
    node.set_disks(disks);
    let levels = found().filter_map(|(id, _, level)| Some((*id, (*level)?)));
    levels.collect()
}

fn others(node: &Node, own_id: u64) -> Vec<(u64, Member)> {
    let metrics = node.raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let nodes = metrics.membership_config.membership().nodes();
    let others = nodes.filter(|(id, _)| **id != own_id);
    others.map(|(id, member)| (*id, member.clone())).collect()
}

async fn promote(node: &Node) {
    let ready = {
        let metrics = node.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let (last, replication) = (metrics.last_log_index, metrics.replication.as_ref());
        let has_caught_up = |id: &u64| {
            let matched = replication.and_then(|all| all.get(id)?.as_ref());
            matched.is_some_and(|matched| Some(matched.index + LAG_MAX) >= last)
        };
        match membership.voter_ids().count() < VOTERS_MAX {
            true => membership.learner_ids().find(has_caught_up),
            false => None,
        }
    };
    let Some(id) = ready else {
        return;
    };
    match node
        .change_members(ChangeMembers::AddVoterIds([id].into()))
        .await
    {
        Ok(()) => tracing::info!(node = id, "a learner has caught up and votes from now on"),
        Err(error) => tracing::warn!(node = id, %error, "a learner does not vote yet"),
    }
}

/// Whether the latest membership that another node has committed is without this one; `None` where nobody answers who
/// knows as much as this node.
async fn is_removed(node: &Node, own_id: u64) -> Option<bool> {
    let (at, _) = node.committed_members();
    let mut latest = None;
    for (_, other) in others(node, own_id) {
        let identity = &node.directory.identity;
        if let Ok(found) = node.network.identify(&other.peer_address).await
            && found.cluster_id == identity.cluster_id
            && found.epoch == identity.epoch
            && found.members_at >= at
            && !found.member_ids.is_empty()
        {
            let verdict = (found.members_at, !found.member_ids.contains(&own_id));
            latest = latest.max(Some(verdict));
        }
    }
    latest.map(|(_, removed)| removed)
}

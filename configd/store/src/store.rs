//! The store as the rest of configd sees it.

mod members;
mod open;
mod read;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{sync::watch, task::JoinHandle};

pub use members::{MemberStatus, Role};

use crate::{member::Member, node::Node, peers::PeerServer, views::Heads};

/// Numbers for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// This node.
    pub node_id: u64,
    /// Raft's term.
    pub term: u64,
    /// Index of the last log entry.
    pub last_log_index: Option<u64>,
    /// Index of the last applied entry.
    pub applied_index: Option<u64>,
    /// Index up to which an image exists.
    pub image_index: Option<u64>,
    /// Index up to which the log is gone.
    pub purged_index: Option<u64>,
    /// Number of stored objects.
    pub objects: usize,
    /// Number of stored parts.
    pub blobs: usize,
}

/// A node of the replicated store. Clones share it.
///
/// Reads answer from memory and do not wait; all but [`Store::blob`] never touch the disk.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    node: Arc<Node>,
    /// What a node of a cluster has besides, until the store is shut down: who listens for the others, and who looks
    /// after its place among them.
    member: Mutex<Option<(PeerServer, JoinHandle<()>)>>,
    leader: watch::Receiver<bool>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.inner.node.directory.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Follows the revision.
    pub fn watch_revision(&self) -> watch::Receiver<u64> {
        self.inner.node.views.revision.subscribe()
    }

    /// Follows the newest version of every pool.
    pub fn watch_heads(&self) -> watch::Receiver<Heads> {
        self.inner.node.views.heads.subscribe()
    }

    /// Follows what is said about versions: wakes with each change of [`crate::Marks`] of any pool.
    pub fn watch_marks(&self) -> watch::Receiver<u64> {
        self.inner.node.views.marks.subscribe()
    }

    /// Whether this node leads now.
    pub fn is_leader(&self) -> bool {
        use openraft::async_runtime::watch::WatchReceiver as _;
        let metrics = self.inner.node.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.current_leader == Some(metrics.id)
    }

    /// Follows whether this node leads.
    pub fn watch_leader(&self) -> watch::Receiver<bool> {
        self.inner.leader.clone()
    }

    /// Who leads, as far as this node knows: its id and how it is reached.
    pub fn leader(&self) -> Option<(u64, Member)> {
        use openraft::async_runtime::watch::WatchReceiver as _;
        let metrics = self.inner.node.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let id = metrics.current_leader?;
        let members = metrics.membership_config.membership();
        Some((id, members.get_node(&id)?.clone()))
    }

    /// The other nodes of the cluster, as far as this node knows, ordered by id.
    pub fn others(&self) -> Vec<(u64, Member)> {
        use openraft::async_runtime::watch::WatchReceiver as _;
        let metrics = self.inner.node.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership().nodes();
        let others = members.filter(|(id, _)| **id != metrics.id);
        others.map(|(id, member)| (*id, member.clone())).collect()
    }

    /// This node's id; it is never used for another one.
    pub fn node_id(&self) -> u64 {
        self.inner.node.directory.identity.node_id
    }

    /// Which epoch of the cluster the node is in: it grows whenever the cluster is restored from a backup.
    pub fn epoch(&self) -> u64 {
        self.inner.node.directory.identity.epoch
    }

    /// The cluster's id: 32 hexadecimal digits, made when its first node was.
    pub fn cluster_id(&self) -> &str {
        &self.inner.node.directory.identity.cluster_id
    }

    /// The cluster's feature level, as far as this node has applied the log.
    pub fn level(&self) -> u32 {
        self.inner.node.views.levels.reached()
    }

    /// The highest feature level that this node knows.
    pub fn highest_level(&self) -> u32 {
        self.inner.node.views.levels.highest
    }

    /// Numbers for operators.
    pub fn metrics(&self) -> Metrics {
        use openraft::async_runtime::watch::WatchReceiver as _;
        let raft = self.inner.node.raft.metrics().borrow_watched().clone();
        let image = self.inner.node.views.read();
        Metrics {
            node_id: raft.id,
            term: raft.current_term,
            last_log_index: raft.last_log_index,
            applied_index: image.applied.map(|id| id.index),
            image_index: raft.snapshot.map(|id| id.index),
            purged_index: raft.purged.map(|id| id.index),
            objects: image.state.objects.len(),
            blobs: image.state.blobs.len(),
        }
    }

    /// Stops the node; everything acknowledged is on the disk. Reads still answer, proposals fail.
    pub async fn shutdown(&self) {
        let member = self
            .inner
            .member
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((server, steward)) = member {
            steward.abort();
            // It holds the node while it works.
            let _ = steward.await;
            server.stop().await;
        }
        if let Err(error) = self.inner.node.raft.shutdown().await {
            tracing::warn!(%error, "the raft task ended badly");
        }
        self.inner.node.log.close().await;
    }
}

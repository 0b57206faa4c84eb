//! One node: its files, its Raft, and what it does by itself. Other nodes reach it through [`peers`](crate::peers).

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use openraft::{
    ChangeMembers, ReadPolicy,
    async_runtime::watch::WatchReceiver as _,
    errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError},
    type_config::alias::SnapshotOf,
};
use tidegate_proto::raft::v1::RaiseLevel;

use tokio::sync::watch;

use crate::{
    StoreError,
    blobs::holds_at,
    command::{Command, Outcome},
    directory::Directory,
    disk::{DiskSpace, blocking},
    image::ImageFile,
    log::Log,
    machine::meta_of,
    member::Member,
    peers::{Network, READ_DEADLINE, Received, WRITE_DEADLINE},
    raft::{LogId, Payload, Raft, TypeConfig},
    views::Views,
};

/// What a node consists of.
pub(crate) struct Node {
    pub(crate) directory: Directory,
    pub(crate) free_bytes_min: u64,
    pub(crate) raft: Raft,
    pub(crate) log: Log,
    pub(crate) views: std::sync::Arc<Views>,
    pub(crate) network: Network,
    /// What the members have said about their disks, to a node that leads.
    pub(crate) disks: Mutex<BTreeMap<u64, DiskSpace>>,
    /// Held while members come or the level goes up, so that no newcomer misses what it must know.
    pub(crate) joining: tokio::sync::Mutex<()>,
    /// Whether the others say that the node is none of them.
    pub(crate) removed: watch::Sender<bool>,
}

/// Why this node did not do what only a leader does, with whoever is thought to lead.
pub(crate) enum Declined {
    /// Nothing was written. Another node leads, or none.
    NotLeader(Option<(u64, Member)>),
    /// Anything else.
    Failed(StoreError),
}

impl Node {
    /// Appends a command as the leader.
    pub(crate) async fn propose(&self, command: Payload) -> Result<Outcome, Declined> {
        self.check_place()?;
        self.check_space().map_err(Declined::Failed)?;
        let write = self.raft.client_write(command);
        let written = tokio::time::timeout(WRITE_DEADLINE, write).await;
        self.make_image_if_due().await;
        let uncertain = |reason: String| Declined::Failed(StoreError::Uncertain { reason });
        match written {
            Ok(Ok(response)) => Ok(response.data),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                Err(Declined::NotLeader(leader_of(to)))
            }
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => Err(uncertain(
                "this node lost its lead before a quorum had confirmed the write".to_owned(),
            )),
            Ok(Err(other)) => Err(Declined::Failed(stopped(other))),
            Err(_) => Err(uncertain(format!(
                "no quorum confirmed the write within {} s",
                WRITE_DEADLINE.as_secs()
            ))),
        }
    }

    /// Makes an image where the entries since the last one are many bytes; openraft only counts them.
    pub(crate) async fn make_image_if_due(&self) {
        if self.views.is_image_due() {
            self.views.image_was_made();
            // Best effort: the next entries ask again.
            let _ = self.raft.trigger().snapshot().await;
        }
    }

    /// Confirms with a quorum that this node leads, and says how far a reader must have applied the log.
    pub(crate) async fn read_index(&self) -> Result<LogId, Declined> {
        self.check_place()?;
        let asked = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match tokio::time::timeout(READ_DEADLINE, asked).await {
            Ok(Ok(linearizer)) => Ok(*linearizer.read_log_id().log_id()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to)))) => {
                Err(Declined::NotLeader(leader_of(to)))
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) | Err(_) => {
                Err(Declined::NotLeader(None))
            }
            Ok(Err(other)) => Err(Declined::Failed(stopped(other))),
        }
    }

    /// Waits until the log is applied up to an entry.
    pub(crate) async fn applied(&self, index: u64, timeout: Duration) -> Result<(), StoreError> {
        let wait = self.raft.wait(Some(timeout));
        let applied = wait.applied_index_at_least(Some(index), "a read waits");
        applied.await.map(drop).map_err(|_| StoreError::NotReady {
            waited_ms: millis(timeout),
        })
    }

    /// Puts what another node has sent where openraft can take it, after every part that the image names was held against its
    /// name: the other's disk may be damaged, and what is here would be replaced. Blocks.
    pub(crate) fn take_image(
        &self,
        received: Received,
    ) -> Result<SnapshotOf<TypeConfig, ImageFile>, StoreError> {
        let snapshot = ImageFile {
            path: received.image,
        };
        let image = snapshot.read_up_to(self.views.levels.highest)?;
        let meta = meta_of(&image);
        let parts = image.state.parts_by_pack();
        for (pack, path) in &received.packs {
            let parts = parts.get(pack).map(Vec::as_slice);
            holds_at(path, parts.unwrap_or_default())?;
        }
        for (pack, path) in &received.packs {
            self.views.blobs.take(*pack, path)?;
        }
        self.views.blobs.sync()?;
        Ok(SnapshotOf::<TypeConfig, ImageFile> { meta, snapshot })
    }

    /// Has the leader write down how a node is reached.
    pub(crate) async fn introduce(&self, id: u64, member: Member) -> Result<(), StoreError> {
        let leader = self.raft.current_leader().await;
        match leader {
            Some(leader) if leader == self.directory.identity.node_id => {
                self.change_members(ChangeMembers::SetNodes([(id, member)].into()))
                    .await
            }
            Some(leader) => {
                let at = {
                    let metrics = self.raft.server_metrics();
                    let metrics = metrics.borrow_watched();
                    let membership = metrics.membership_config.membership();
                    membership.get_node(&leader).cloned()
                };
                let at = at.ok_or(StoreError::NoLeader { hint: None })?;
                self.network.introduce((leader, &at), &member).await
            }
            None => Err(StoreError::NoLeader { hint: None }),
        }
    }

    /// Raises the cluster's feature level, as the leader, where all members know a higher one: by what stands in the log and by
    /// what they have just `told`, so that none that is gone or went back to an older release is left behind.
    pub(crate) async fn raise_level(&self, told: &BTreeMap<u64, u32>) {
        let _alone = self.joining.lock().await;
        let levels = &self.views.levels;
        let own_id = self.directory.identity.node_id;
        let all = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let nodes = metrics.membership_config.membership().nodes();
            let level = |(id, member): (&u64, &Member)| match *id == own_id {
                true => levels.highest,
                false => told.get(id).map_or(0, |told| member.level.min(*told)),
            };
            nodes.map(level).min().unwrap_or_default()
        };
        if all <= levels.reached() {
            return;
        }
        let raise = Command::RaiseLevel(RaiseLevel { level: all });
        if let Err(Declined::Failed(error)) = self.propose(Payload::of(raise)).await {
            tracing::warn!(level = all, %error, "the feature level is not raised yet");
        }
    }

    /// Whether the node takes part in its cluster.
    fn check_place(&self) -> Result<(), Declined> {
        self.views.levels.check().map_err(Declined::Failed)?;
        let node_id = self.directory.identity.node_id;
        match *self.removed.borrow() {
            true => Err(Declined::Failed(StoreError::Removed { node_id })),
            false => Ok(()),
        }
    }

    /// How much space this node has now.
    pub(crate) fn disk(&self) -> Result<DiskSpace, StoreError> {
        let dir = &self.directory.path;
        let disk = DiskSpace::of(dir, self.free_bytes_min);
        disk.map_err(StoreError::io("ask for the free space of", dir))
    }

    /// What is known of the disks of all members.
    pub(crate) fn disks(&self) -> BTreeMap<u64, DiskSpace> {
        let disks = self.disks.lock();
        disks.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_disks(&self, found: BTreeMap<u64, DiskSpace>) {
        *self.disks.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    fn check_space(&self) -> Result<(), StoreError> {
        let own = self.disk()?;
        if own.is_short() {
            return Err(StoreError::DiskFull {
                dir: self.directory.path.clone(),
                free: own.free,
                needed: own.reserve,
            });
        }
        let disks = self.disks();
        if disks.is_empty() {
            return Ok(());
        }
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let short = blocking(membership.voter_ids(), &disks);
        if short.is_empty() {
            return Ok(());
        }
        let named = short.iter().map(|id| match membership.get_node(id) {
            Some(member) => format!("node {id} ({})", member.name),
            None => format!("node {id}"),
        });
        let names: Vec<String> = named.collect();
        Err(StoreError::VotersFull {
            names: names.join(", "),
        })
    }
}

fn leader_of(to: ForwardToLeader<TypeConfig>) -> Option<(u64, Member)> {
    to.leader_id.zip(to.leader_node)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn stopped(error: impl std::fmt::Display) -> StoreError {
    StoreError::Stopped {
        reason: error.to_string(),
    }
}

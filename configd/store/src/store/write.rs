//! Writes and linearizable reads: by this node where it leads, else once by the one that does.

use std::time::Duration;

use super::Store;
use crate::{
    StoreError,
    command::{Command, Outcome},
    member::Member,
    node::Declined,
    raft::Payload,
};

/// Time for this node to apply what a reader has to see.
const CATCH_UP: Duration = Duration::from_secs(5);

impl Store {
    /// Appends a command to the log and returns what it came to, after a quorum has it on the disk and the leader has
    /// applied it. A node that does not lead passes it on to the one that does, once.
    ///
    /// A command that the state refuses is not an error but an [`Outcome`].
    ///
    /// # Errors
    ///
    /// Nothing was written with [`StoreError::NoLeader`], [`StoreError::LevelBelow`], [`StoreError::DiskFull`] and
    /// [`StoreError::NotWritten`].
    /// Nobody knows with [`StoreError::Uncertain`]. After [`StoreError::Stopped`] only reads work here.
    pub async fn propose(&self, command: Command) -> Result<Outcome, StoreError> {
        if let Err(reason) = command.check() {
            return Ok(Outcome::Refused { reason });
        }
        self.check_level(&command)?;
        let node = &self.inner.node;
        let command = Payload::of(command);
        match node.propose(command.clone()).await {
            Ok(outcome) => Ok(outcome),
            Err(Declined::Failed(error)) => Err(error),
            Err(Declined::NotLeader(leader)) => {
                let (id, member) = self.elsewhere(leader)?;
                let outcome = node.network.propose((id, &member), command.bytes).await?;
                if let Some(revision) = outcome.revision() {
                    // So that who wrote here reads it here. It is stored already, however long this takes.
                    let _ = node.applied(revision, CATCH_UP).await;
                }
                Ok(outcome)
            }
        }
    }

    /// The same, but only as the leader: what one that was deposed has computed is not passed on.
    ///
    /// # Errors
    ///
    /// As [`Store::propose`].
    pub async fn propose_as_leader(&self, command: Command) -> Result<Outcome, StoreError> {
        if let Err(reason) = command.check() {
            return Ok(Outcome::Refused { reason });
        }
        self.check_level(&command)?;
        let proposed = self.inner.node.propose(Payload::of(command)).await;
        proposed.map_err(not_here)
    }

    /// Waits until reads of this node see every write that was acknowledged before the call, by any node.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLeader`] where no quorum confirms a leader; [`StoreError::NotReady`] where this node is too far
    /// behind.
    pub async fn linearize(&self) -> Result<(), StoreError> {
        let node = &self.inner.node;
        let upto = match node.read_index().await {
            Ok(upto) => upto,
            Err(Declined::Failed(error)) => return Err(error),
            Err(Declined::NotLeader(leader)) => {
                let (id, member) = self.elsewhere(leader)?;
                node.network.read_index((id, &member)).await?
            }
        };
        node.applied(upto.index, CATCH_UP).await
    }

    /// Waits until there is a leader and this node has applied what was acknowledged before, then looks for the files
    /// of all parts.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotReady`] after `timeout`; [`StoreError::Damaged`] where a file is gone.
    pub async fn ready(&self, timeout: Duration) -> Result<(), StoreError> {
        const PAUSE: Duration = Duration::from_millis(100);
        let ready = async {
            while self.linearize().await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let waited_ms = crate::node::millis(timeout);
        let ready = tokio::time::timeout(timeout, ready).await;
        ready.map_err(|_| StoreError::NotReady { waited_ms })?;
        let views = self.inner.node.views.clone();
        let found = tokio::task::spawn_blocking(move || views.find_packs());
        found.await.map_err(crate::node::stopped)?
    }

    /// What not all nodes know is not written. The cluster's level never goes down, so what this node has applied of it counts.
    fn check_level(&self, command: &Command) -> Result<(), StoreError> {
        let (needed, level) = (command.level(), self.level());
        match needed > level {
            true => Err(StoreError::LevelBelow { needed, level }),
            false => Ok(()),
        }
    }

    /// A leader other than this node.
    fn elsewhere(&self, leader: Option<(u64, Member)>) -> Result<(u64, Member), StoreError> {
        match leader {
            Some((id, member)) if id != self.node_id() => Ok((id, member)),
            _ => Err(StoreError::NoLeader { hint: None }),
        }
    }
}

/// What only the leader does was not done.
pub(super) fn not_here(declined: Declined) -> StoreError {
    match declined {
        Declined::Failed(error) => error,
        Declined::NotLeader(leader) => StoreError::NoLeader {
            hint: leader.map(|(_, member)| member),
        },
    }
}

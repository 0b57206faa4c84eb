//! The types with which openraft is set up, and its settings.
#![allow(
    deprecated,
    reason = "openraft's macro names its own deprecated alias of the tokio runtime"
)]

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use openraft::{Config, SnapshotPolicy, type_config::alias};

use crate::{
    StoreError,
    command::{Command, Outcome},
    machine::Machine,
    member::Member,
};

/// An encoded [`Command`]; openraft does not look inside.
#[derive(Clone)]
pub(crate) struct Payload {
    pub(crate) bytes: Bytes,
    /// The command, where this node has made the bytes of it and nobody has taken it yet.
    command: Option<Arc<Mutex<Option<Command>>>>,
}

impl Payload {
    /// The bytes of a command, as another node has sent them or the log has them.
    pub(crate) fn new(bytes: Bytes) -> Self {
        let command = None;
        Self { bytes, command }
    }

    /// A command of this node's own, which need not be read from its bytes again when it is applied.
    pub(crate) fn of(command: Command) -> Self {
        let (bytes, command) = command.encoded();
        let command = Some(Arc::new(Mutex::new(Some(command))));
        Self { bytes, command }
    }

    /// The command. It is read from the bytes where somebody has taken it before.
    ///
    /// # Errors
    /// A sentence, where the bytes are not a command that this release knows.
    pub(crate) fn take(self) -> Result<Command, String> {
        let own = self.command.and_then(|command| {
            let mut command = command.lock().unwrap_or_else(PoisonError::into_inner);
            command.take()
        });
        own.map_or_else(|| Command::decode(self.bytes), Ok)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.bytes.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = Payload,
        R = Outcome,
        Node = Member,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, Machine>;
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type Entry = alias::EntryOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;

/// Entries that stay in the log after an image contains them, for replicas that are a little behind.
const KEPT_ENTRIES: u64 = 500;

/// The settings of a node. `image_every` is in log entries.
pub(crate) fn config(image_every: u64) -> Result<Arc<Config>, StoreError> {
    let config = Config {
        cluster_name: "tidegate".to_owned(),
        heartbeat_interval: 250,
        election_timeout_min: 1_000,
        election_timeout_max: 2_000,
        enable_pre_vote: Some(true),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(image_every),
        max_in_snapshot_log_to_keep: KEPT_ENTRIES.min(image_every),
        ..Config::default()
    };
    let checked = config.validate().map_err(|error| StoreError::Stopped {
        reason: error.to_string(),
    })?;
    Ok(Arc::new(checked))
}

#[cfg(test)]
mod tests {
    use tidegate_proto::raft::v1::RaiseLevel;

    use super::*;

    #[test]
    fn a_command_is_the_same_whether_it_was_kept_or_is_read_from_its_bytes() {
        let command = Command::RaiseLevel(RaiseLevel { level: 3 });
        let payload = Payload::of(command.clone());
        let of_another_node = Payload::new(payload.bytes.clone());
        assert_eq!(payload, of_another_node);
        let takers = [payload.clone(), payload, of_another_node];
        for taken in takers.map(Payload::take) {
            assert_eq!(taken.as_ref(), Ok(&command));
        }
    }
}

//! What can be asked of the replicated state, what it answers, and the bounds of both.

mod wire;

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use prost::Message as _;
use tidegate_ir::Digest;
use tidegate_proto::{
    ir,
    objects::{self, v1::operation},
    raft::v1,
};

use crate::{
    key::ObjectKey,
    level,
    source::{self, SourceRefusal},
};

pub(crate) use wire::{outcome, outcome_wire};

/// Changes of one batch, at most.
const OPERATIONS_MAX: usize = 20_000;
/// Bytes of one batch, at most.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Bytes of one object's content, at most.
const CONTENT_BYTES_MAX: usize = 1 << 20;
/// Bytes of the parts that one entry brings, at most. One part may be larger, then it comes alone.
const BLOB_BYTES_MAX: usize = 1 << 20;
/// Bytes of one part, at most.
const PART_BYTES_MAX: usize = 4 << 20;
/// Parts that one version may change, at most.
const PARTS_MAX: usize = 200_000;

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a command is made once and moved a few times; its bytes are behind its lists"
)]
pub enum Command {
    /// Change objects, all of them or none.
    PutObjects(v1::PutObjects),
    /// Add a version to a pool's chain.
    CommitSnapshot(v1::CommitSnapshot),
    /// Store part bytes that a following commit names.
    StageBlobs(v1::StageBlobs),
    /// Change what is said about a pool's versions.
    ChangePool(v1::ChangePool),
    /// Begin a session of a source, which ends the one before.
    OpenSession(v1::OpenSession),
    /// Change objects in a session, as its next change.
    SessionWrite(v1::SessionWrite),
    /// Put objects of a full set aside.
    StageObjects(v1::StageObjects),
    /// Make the objects of a source equal to a full set.
    CommitStage(v1::CommitStage),
    /// Change what is known or wanted of a source.
    ChangeSource(v1::ChangeSource),
    /// Let the cluster write what a higher feature level knows. Only a leader that knows of all members asks for it.
    RaiseLevel(v1::RaiseLevel),
}

/// What became of a command. Every replica computes the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The entry was not a command.
    None,
    /// The batch is stored.
    Applied {
        /// The revision of the object set that contains the batch.
        revision: u64,
        /// How many objects differ from before.
        changed: u32,
    },
    /// Nothing was stored, because an object is not as the batch requires.
    PreconditionFailed {
        /// Place of the operation in the batch, from 0.
        index: u32,
        /// The object.
        key: ObjectKey,
        /// The revision that the object has; `None` where there is no such object.
        found: Option<u64>,
    },
    /// Nothing was stored, because the object set is not the one that the batch requires.
    BaseMoved {
        /// The revision of the object set.
        revision: u64,
    },
    /// The version is the head of its pool.
    Committed {
        /// Place in the chain, from 1.
        version: u64,
    },
    /// The version was not committed, because its parent is not the head.
    ParentMismatch {
        /// The pool's head version; 0 where there is none.
        head: u64,
    },
    /// The version was not committed, because the bytes of some parts are neither stored nor in the command.
    MissingBlobs {
        /// Each once, in order.
        digests: Vec<Digest>,
    },
    /// The parts are stored until a commit names them, or until they are pushed out by newer ones.
    Staged {
        /// How many were not there before.
        stored: u32,
    },
    /// The version was not committed, because the pool is frozen and it is not meant for a frozen pool.
    Frozen,
    /// What is said about a pool's versions is what the command wants.
    PoolChanged {
        /// The pool's head version.
        head: u64,
    },
    /// The session is the newest of its source.
    SessionOpened {
        /// Its number.
        session: u64,
        /// Whether it has to begin with a full set.
        resync_due: bool,
    },
    /// The change was carried out before. Nothing was stored now.
    Replayed {
        /// What it came to then.
        first: Box<Self>,
    },
    /// The objects are put aside.
    ObjectsStaged {
        /// The stage.
        stage: u64,
        /// How many objects it has.
        objects: u64,
    },
    /// The objects of a source equal a full set, but for deletions that are held.
    Resynced {
        /// The revision of the object set that contains it.
        revision: u64,
        /// How many objects were stored for the first time or with other content.
        put: u32,
        /// How many objects were deleted.
        deleted: u32,
        /// How many deletions are held.
        held: u32,
    },
    /// What is known or wanted of a source is what the command wants.
    SourceChanged,
    /// The source may not do that now; nothing was stored.
    SourceRefused(SourceRefusal),
    /// The cluster has this feature level.
    Level(u32),
    /// The command breaks a bound; nothing was stored.
    Refused {
        /// Which bound, as a sentence.
        reason: String,
    },
}

impl Command {
    /// The bytes that the log holds.
    pub fn encode(self) -> Bytes {
        self.encoded().0
    }

    /// The same, with the command.
    pub(crate) fn encoded(self) -> (Bytes, Self) {
        use v1::command::Command as Wire;
        let command = match self {
            Self::PutObjects(put) => Wire::PutObjects(put),
            Self::CommitSnapshot(commit) => Wire::CommitSnapshot(commit),
            Self::StageBlobs(stage) => Wire::StageBlobs(stage),
            Self::ChangePool(change) => Wire::ChangePool(change),
            Self::OpenSession(open) => Wire::OpenSession(open),
            Self::SessionWrite(write) => Wire::SessionWrite(write),
            Self::StageObjects(piece) => Wire::StageObjects(piece),
            Self::CommitStage(commit) => Wire::CommitStage(commit),
            Self::ChangeSource(change) => Wire::ChangeSource(change),
            Self::RaiseLevel(raise) => Wire::RaiseLevel(raise),
        };
        let command = Some(command);
        let wire = v1::Command { command };
        let bytes = wire.encode_to_vec().into();
        (bytes, wire.command.map(Self::of).expect("it is set"))
    }

    /// Reads the bytes of a log entry.
    ///
    /// # Errors
    ///
    /// A sentence, when the bytes are not a command that this release knows.
    pub fn decode(bytes: Bytes) -> Result<Self, String> {
        let wire = v1::Command::decode(bytes).map_err(|error| error.to_string())?;
        let unknown = "the command is of a kind that this release does not know";
        wire.command.map(Self::of).ok_or_else(|| unknown.to_owned())
    }

    fn of(wire: v1::command::Command) -> Self {
        use v1::command::Command as Wire;
        match wire {
            Wire::PutObjects(put) => Self::PutObjects(put),
            Wire::CommitSnapshot(commit) => Self::CommitSnapshot(commit),
            Wire::StageBlobs(stage) => Self::StageBlobs(stage),
            Wire::ChangePool(change) => Self::ChangePool(change),
            Wire::OpenSession(open) => Self::OpenSession(open),
            Wire::SessionWrite(write) => Self::SessionWrite(write),
            Wire::StageObjects(piece) => Self::StageObjects(piece),
            Wire::CommitStage(commit) => Self::CommitStage(commit),
            Wire::ChangeSource(change) => Self::ChangeSource(change),
            Wire::RaiseLevel(raise) => Self::RaiseLevel(raise),
        }
    }

    /// Why the state would refuse the command whatever it holds, as a sentence; `None` where it need not.
    pub fn refusal(&self) -> Option<String> {
        self.check().err()
    }

    /// The feature level that all nodes must know before the command is written.
    pub(crate) fn level(&self) -> u32 {
        use v1::change_pool::Change;
        let steps = match self {
            Self::CommitSnapshot(commit) => commit.rollout.as_ref(),
            Self::ChangePool(change) => match &change.change {
                Some(Change::NextRollout(steps) | Change::RolloutPolicy(steps)) => Some(steps),
                _ => None,
            },
            _ => None,
        };
        steps.map_or(level::FIRST_LEVEL, crate::rollout::level)
    }

    /// The part bytes that the command brings.
    pub(crate) fn blobs(&self) -> &[ir::v1::Blob] {
        match self {
            Self::CommitSnapshot(commit) => &commit.blobs,
            Self::StageBlobs(stage) => &stage.blobs,
            _ => &[],
        }
    }

    /// Holds the command against the documented bounds. Equal on every replica.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::PutObjects(put) => check_put(put),
            Self::CommitSnapshot(commit) => check_commit(commit),
            Self::StageBlobs(stage) => check_blobs(&stage.blobs),
            Self::ChangePool(change) => crate::marks::check(change),
            Self::OpenSession(open) => source::check_open(open),
            Self::SessionWrite(write) => source::check_write(write),
            Self::StageObjects(piece) => source::check_stage(piece),
            Self::CommitStage(commit) => source::check_commit(commit),
            Self::ChangeSource(change) => source::check_change(change),
            Self::RaiseLevel(_) => Ok(()),
        }
    }
}

impl Outcome {
    /// The revision of the object set that contains what was stored, now or before; `None` where nothing was.
    pub fn revision(&self) -> Option<u64> {
        match self {
            Self::Applied { revision, .. } | Self::Resynced { revision, .. } => Some(*revision),
            Self::Replayed { first } => first.revision(),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

pub(crate) fn at_most(what: &str, len: usize, max: usize) -> Result<(), String> {
    if len > max {
        Err(format!("{what} has {len} bytes, at most {max} are allowed"))
    } else {
        Ok(())
    }
}

pub(crate) fn check_put(put: &v1::PutObjects) -> Result<(), String> {
    at_most("source", put.source.len(), 63)?;
    at_most("request_id", put.request_id.len(), 64)?;
    at_most("reason", put.reason.len(), 256)?;
    if put.source.is_empty() {
        return Err("source is empty".to_owned());
    }
    if put.operations.is_empty() || put.operations.len() > OPERATIONS_MAX {
        let found = put.operations.len();
        return Err(format!(
            "the batch has {found} operations, 1 to {OPERATIONS_MAX} are allowed"
        ));
    }
    at_most("the batch", put.encoded_len(), BATCH_BYTES_MAX)?;
    for (index, operation) in put.operations.iter().enumerate() {
        check_operation(&put.source, operation)
            .map_err(|why| format!("operations[{index}]: {why}"))?;
    }
    Ok(())
}

fn check_operation(source: &str, operation: &objects::v1::Operation) -> Result<(), String> {
    match &operation.operation {
        Some(operation::Operation::Put(object)) => check_object(source, object)?,
        Some(operation::Operation::Delete(key)) => check_key(source, Some(key))?,
        None => return Err("neither put nor delete is set".to_owned()),
    }
    match &operation.precondition {
        Some(precondition) if precondition.condition.is_none() => {
            Err("precondition has no condition".to_owned())
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_object(source: &str, object: &objects::v1::Object) -> Result<(), String> {
    at_most("uid", object.uid.len(), 64)?;
    at_most("content", object.content.len(), CONTENT_BYTES_MAX)?;
    check_key(source, object.key.as_ref())
}

pub(crate) fn check_key(source: &str, key: Option<&objects::v1::ObjectKey>) -> Result<(), String> {
    let Some(key) = key else {
        return Err("key is missing".to_owned());
    };
    if key.source != source {
        return Err(format!(
            "key.source is \"{}\", the batch's is \"{source}\"",
            key.source
        ));
    }
    if key.kind.is_empty() || key.name.is_empty() {
        return Err("key.kind and key.name must not be empty".to_owned());
    }
    at_most("key.group", key.group.len(), 253)?;
    at_most("key.kind", key.kind.len(), 63)?;
    at_most("key.namespace", key.namespace.len(), 63)?;
    at_most("key.name", key.name.len(), 253)
}

fn check_commit(commit: &v1::CommitSnapshot) -> Result<(), String> {
    at_most("pool", commit.pool.len(), 1024)?;
    at_most("cause", commit.cause.len(), 1024)?;
    commit
        .rollout
        .as_ref()
        .map_or(Ok(()), crate::rollout::check)?;
    commit
        .freeze
        .as_ref()
        .map_or(Ok(()), crate::marks::check_note)?;
    if commit.pool.is_empty() {
        return Err("pool is empty".to_owned());
    }
    Digest::try_from(commit.digest.as_ref()).map_err(|why| format!("digest: {why}"))?;
    let count = commit.put.len() + commit.removed.len();
    if count > PARTS_MAX {
        return Err(format!(
            "the version changes {count} parts, at most {PARTS_MAX} are allowed"
        ));
    }
    let mut seen = BTreeSet::new();
    let put = commit
        .put
        .iter()
        .map(|part| (part.kind, part.name.as_str()));
    let removed = commit
        .removed
        .iter()
        .map(|part| (part.kind, part.name.as_str()));
    for (kind, name) in put.chain(removed) {
        at_most("part name", name.len(), 1024)?;
        if name.is_empty() {
            return Err("a part has no name".to_owned());
        }
        if !seen.insert((kind, name)) {
            return Err(format!("part {name} of kind {kind} is named twice"));
        }
    }
    for part in &commit.put {
        Digest::try_from(part.digest.as_ref())
            .map_err(|why| format!("part {}: {why}", part.name))?;
    }
    check_blobs(&commit.blobs)
}

fn check_blobs(blobs: &[ir::v1::Blob]) -> Result<(), String> {
    let mut total = 0;
    for blob in blobs {
        at_most("a part", blob.content.len(), PART_BYTES_MAX)?;
        total += blob.content.len();
        let stated =
            Digest::try_from(blob.digest.as_ref()).map_err(|why| format!("blob: {why}"))?;
        let found = Digest::of(&blob.content);
        if stated != found {
            return Err(format!(
                "the blob that is named {stated} has the digest {found}"
            ));
        }
    }
    // A part above the entry's bound is allowed when it travels alone, else it could never be stored.
    if blobs.len() > 1 {
        at_most("the parts of one entry", total, BLOB_BYTES_MAX)?;
    }
    Ok(())
}

//! Records of a state image. These bytes are on disk: fields are added, never changed.

use bytes::Bytes;
use prost::{Message, Oneof};
use tidegate_proto::objects::v1::{ObjectKey, StoredObject};
use tidegate_proto::raft::v1::{
    CommandOutcome, KeptObject, Label, LogId, Note, OpenSession, RolloutSteps, SourcePolicy,
};

use crate::log::MembershipWire;

/// How a record begins in a chunk: field 1, with its length.
const RECORDS_KEY: u8 = 1 << 3 | 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Chunk {
    #[prost(message, repeated, tag = "1")]
    pub(super) records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
    pub(super) kind: Option<Kind>,
}

impl Record {
    /// Appends the record to the bytes of a [`Chunk`].
    pub(super) fn add_to(&self, chunk: &mut Vec<u8>) {
        chunk.push(RECORDS_KEY);
        self.encode_length_delimited(chunk).expect("a vector grows");
    }
}

#[derive(Clone, PartialEq, Oneof)]
#[allow(
    clippy::large_enum_variant,
    reason = "records are written and read one after the other"
)]
pub(super) enum Kind {
    #[prost(message, tag = "1")]
    Start(Start),
    #[prost(message, tag = "2")]
    Object(StoredObject),
    #[prost(message, tag = "3")]
    Blob(Blob),
    #[prost(message, tag = "4")]
    Part(Part),
    #[prost(message, tag = "5")]
    Version(Version),
    #[prost(message, tag = "6")]
    Request(Request),
    /// The number of records before this one, which is the last.
    #[prost(uint64, tag = "7")]
    End(u64),
    #[prost(message, tag = "8")]
    Marks(Marks),
    /// After the objects.
    #[prost(message, tag = "9")]
    Source(Source),
    /// What a session's next batch came to; after its source, oldest first.
    #[prost(message, tag = "10")]
    BatchOutcome(BatchOutcome),
    /// A deletion that is held; after its source.
    #[prost(message, tag = "11")]
    HeldKey(KeptObject),
    /// A piece of a stage; after its source.
    #[prost(message, tag = "12")]
    Staged(Staged),
    /// A deletion that is remembered; oldest first.
    #[prost(message, tag = "13")]
    Tombstone(KeptObject),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Start {
    #[prost(message, optional, tag = "1")]
    pub(super) applied: Option<LogId>,
    #[prost(message, optional, tag = "2")]
    pub(super) membership_at: Option<LogId>,
    #[prost(message, optional, tag = "3")]
    pub(super) membership: Option<MembershipWire>,
    #[prost(uint64, tag = "4")]
    pub(super) revision: u64,
    /// Missing where deletions were not remembered yet.
    #[prost(uint64, optional, tag = "5")]
    pub(super) tombstones_floor: Option<u64>,
    #[prost(uint64, tag = "6")]
    pub(super) session_base: u64,
    /// The cluster's feature level; 0 from releases that knew of none.
    #[prost(uint32, tag = "7")]
    pub(super) level: u32,
}

/// What is known of a source besides its objects.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Source {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) session: Option<Session>,
    #[prost(bool, tag = "3")]
    pub(super) resync_due: bool,
    #[prost(int64, tag = "4")]
    pub(super) resynced_at_unix_ms: i64,
    #[prost(int64, optional, tag = "5")]
    pub(super) withdrawn_at_unix_ms: Option<i64>,
    #[prost(message, optional, tag = "6")]
    pub(super) policy: Option<SourcePolicy>,
    #[prost(message, optional, tag = "7")]
    pub(super) held: Option<Held>,
    #[prost(message, optional, tag = "8")]
    pub(super) stage: Option<Stage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Session {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) opened: Option<OpenSession>,
    #[prost(uint64, tag = "3")]
    pub(super) renewed: u64,
    #[prost(int64, tag = "4")]
    pub(super) renewed_at_unix_ms: i64,
    /// How many of its last outcomes do not follow.
    #[prost(uint64, tag = "5")]
    pub(super) forgotten: u64,
}

/// The keys follow.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Held {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(int64, tag = "2")]
    pub(super) at_unix_ms: i64,
    #[prost(uint64, tag = "3")]
    pub(super) of: u64,
}

/// The objects follow.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Stage {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) touched: u64,
    #[prost(uint64, tag = "3")]
    pub(super) session: u64,
}

/// One of both.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Staged {
    #[prost(message, optional, tag = "1")]
    pub(super) object: Option<StoredObject>,
    #[prost(message, optional, tag = "2")]
    pub(super) kept: Option<KeptObject>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchOutcome {
    #[prost(string, tag = "1")]
    pub(super) source: String,
    #[prost(message, optional, tag = "2")]
    pub(super) outcome: Option<CommandOutcome>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Blob {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) digest: Bytes,
    #[prost(uint64, tag = "2")]
    pub(super) pack: u64,
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
    #[prost(uint64, tag = "4")]
    pub(super) len: u64,
    #[prost(uint32, tag = "5")]
    pub(super) uses: u32,
}

/// A line of the newest manifest of a pool.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Part {
    #[prost(string, tag = "1")]
    pub(super) pool: String,
    #[prost(int32, tag = "2")]
    pub(super) kind: i32,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) digest: Bytes,
}

/// Oldest first within a pool.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Version {
    #[prost(string, tag = "1")]
    pub(super) pool: String,
    #[prost(uint64, tag = "2")]
    pub(super) version: u64,
    #[prost(uint64, tag = "3")]
    pub(super) parent: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) digest: Bytes,
    #[prost(uint64, tag = "5")]
    pub(super) revision: u64,
    #[prost(int64, tag = "6")]
    pub(super) committed_at_unix_ms: i64,
    #[prost(string, tag = "7")]
    pub(super) cause: String,
    #[prost(uint32, tag = "8")]
    pub(super) parts: u32,
    #[prost(message, repeated, tag = "9")]
    pub(super) changes: Vec<Change>,
    #[prost(int64, tag = "10")]
    pub(super) epoch: i64,
    #[prost(uint64, tag = "11")]
    pub(super) restores: u64,
}

/// What is said about a pool's versions.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Marks {
    #[prost(string, tag = "1")]
    pub(super) pool: String,
    #[prost(message, optional, tag = "2")]
    pub(super) freeze: Option<Note>,
    #[prost(message, optional, tag = "3")]
    pub(super) unfrozen: Option<Note>,
    #[prost(uint64, repeated, tag = "4")]
    pub(super) pins: Vec<u64>,
    #[prost(message, repeated, tag = "5")]
    pub(super) labels: Vec<Label>,
    #[prost(message, optional, tag = "6")]
    pub(super) rollout: Option<Rollout>,
    #[prost(message, optional, tag = "7")]
    pub(super) next: Option<RolloutSteps>,
    #[prost(message, optional, tag = "8")]
    pub(super) policy: Option<RolloutSteps>,
}

/// A rollout that is under way.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Rollout {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) stable: u64,
    #[prost(uint64, tag = "3")]
    pub(super) canary: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) steps: Option<RolloutSteps>,
    #[prost(uint32, tag = "5")]
    pub(super) step: u32,
    #[prost(int64, tag = "6")]
    pub(super) since_unix_ms: i64,
    #[prost(bool, tag = "7")]
    pub(super) paused: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Change {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) before: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(super) after: Option<Bytes>,
}

/// An answer that is kept for retries; oldest first. With `key` it is a failed precondition.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(string, tag = "1")]
    pub(super) source: String,
    #[prost(string, tag = "2")]
    pub(super) id: String,
    #[prost(uint64, tag = "3")]
    pub(super) revision: u64,
    #[prost(uint32, tag = "4")]
    pub(super) changed: u32,
    #[prost(message, optional, tag = "5")]
    pub(super) key: Option<ObjectKey>,
    #[prost(uint32, tag = "6")]
    pub(super) index: u32,
    #[prost(uint64, optional, tag = "7")]
    pub(super) found: Option<u64>,
}

//! Records of a state image. These bytes are on disk: fields are added, never changed.

use bytes::Bytes;
use prost::{Message, Oneof};
use tidegate_proto::objects::v1::{ObjectKey, StoredObject};
use tidegate_proto::raft::v1::{Label, Note, RolloutSteps};

use crate::log::{LogIdWire, MembershipWire};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Chunk {
    #[prost(message, repeated, tag = "1")]
    pub(super) records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub(super) kind: Option<Kind>,
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
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Start {
    #[prost(message, optional, tag = "1")]
    pub(super) applied: Option<LogIdWire>,
    #[prost(message, optional, tag = "2")]
    pub(super) membership_at: Option<LogIdWire>,
    #[prost(message, optional, tag = "3")]
    pub(super) membership: Option<MembershipWire>,
    #[prost(uint64, tag = "4")]
    pub(super) revision: u64,
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

//! The replicated state behind configd: objects, the history of snapshots and the bytes of their parts.
//!
//! Every change is one entry of a Raft log. An entry is acknowledged after the log is on the disks of a quorum
//! (`fdatasync` returned) and the entry is applied. The store knows keys and bytes; what the bytes mean
//! is the compiler's business. This is the only crate that names openraft.
//!
//! # Files of a data directory
//!
//! ```text
//! IDENTITY   who this node is, written once
//! LOCK       held by the process that uses the directory
//! WITNESS    how far the log was acknowledged
//! log/       the Raft log: segments of checksummed and chained frames
//! images/    the state up to a log index; older log entries are purged
//! blobs/     the bytes of parts, one pack file for each entry that brought some
//! backup/    what a backup that is being made still has to send
//! incoming/  an image that another node is sending
//! ```

mod backup;
mod blobs;
mod changes;
mod command;
mod directory;
mod disk;
mod error;
mod founding;
mod history;
mod image;
mod key;
mod level;
mod lock;
mod log;
mod machine;
mod marks;
mod member;
mod node;
mod options;
mod peers;
mod raft;
mod rollout;
mod source;
mod state;
mod steward;
mod store;
mod tombstones;
mod views;

pub use backup::restore;
pub use command::{Command, Outcome};
pub use disk::DiskSpace;
pub use error::StoreError;
pub use history::{PartChange, PartRef, SnapshotMeta};
pub use key::{ObjectChange, ObjectFilter, ObjectKey, StoredObject};
pub use level::HIGHEST_LEVEL;
pub use marks::{Marks, Note};
pub use member::Member;
pub use options::{ClusterOptions, OpenOptions, Start};
pub use peers::{Dial, Incoming, PlainDial};
pub use rollout::{Gates, Rollout, Step, Steps};
pub use source::{Held, Policy, Quota, Session, Source, SourceRefusal};
pub use store::{MemberStatus, Metrics, Role, Store};
pub use views::Heads;

/// Digest of bytes, as the snapshot model defines it.
pub use tidegate_ir::Digest;

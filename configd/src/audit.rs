//! The audit log: who changed what, and who was refused. Records are chained by their digests, so that one
//! that is changed or taken out later is found.

mod budget;
mod chain;
mod files;
mod log;
mod record;

pub use chain::{Broken, Head};
pub use files::{AuditError, read};
pub use record::{Event, Record};

pub(crate) use log::AuditLog;

/// The folder of the audit log in a data directory.
pub const FOLDER: &str = "audit";

//! The stream to one worker: ordered, whole versions, at most one of them unanswered.

mod bulk;
mod pieces;
mod session;
mod whole;

pub(crate) use bulk::Bulk;
pub(crate) use session::{Session, Shared};
pub(crate) use whole::WholeSnapshots;

//! The stream to one worker: ordered, whole versions, at most one of them unanswered.

mod pieces;
mod session;

pub(crate) use session::Session;

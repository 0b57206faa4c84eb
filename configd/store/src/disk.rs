//! Files of the log, and the space that is left for them.

mod segments;
mod settler;
mod space;
mod witness;

pub(crate) use segments::LogFiles;
pub use space::DiskSpace;
pub(crate) use space::blocking;

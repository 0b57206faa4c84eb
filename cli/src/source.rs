//! Reads Gateway API objects from files, and follows the files as they change.

pub(crate) mod codes;
pub(crate) mod files;
pub(crate) mod object;
pub(crate) mod position;
pub(crate) mod set;
pub(crate) mod watch;
pub(crate) mod yaml;

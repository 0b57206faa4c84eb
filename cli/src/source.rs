//! Reads Gateway API objects from files.

pub(crate) mod position;
pub(crate) mod yaml;

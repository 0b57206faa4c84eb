//! Backends: their endpoints, and the connections to them.

mod balance;
mod pool;

pub(crate) use balance::Upstream;
pub(crate) use pool::{Lease, Pool, Sent};

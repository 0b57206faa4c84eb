//! The objects of the cluster, as its API server tells them.

mod discovery;
mod mirror;
mod observed;
mod watch;

pub(crate) use discovery::{Discovery, Resources};
pub(crate) use mirror::Mirror;
pub(crate) use observed::Observed;

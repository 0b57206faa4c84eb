//! The config store's server: takes objects in, publishes compiled snapshots, streams them to workers.

mod app;
mod clock;
mod cluster;
mod error;
mod feed;
mod fleet;
mod metrics;
mod name;
mod pools;
mod process;
mod publisher;
mod restore;
mod rpc;
mod statuses;
mod transport;
mod wire;

pub use app::{Configd, ConfigdError, ConfigdHandle, ConfigdOptions};
pub use cluster::{PeerOptions, PeerStart};
pub use process::ConfigdArgs;
pub use restore::RestoreArgs;

//! The config store's server: takes objects in, publishes compiled snapshots, streams them to workers.

mod access;
mod app;
pub mod audit;
mod call;
mod caller;
mod checked;
mod clock;
mod cluster;
mod error;
pub mod explain;
mod feed;
#[cfg(test)]
mod fixtures;
mod fleet;
mod listen;
mod metrics;
mod name;
mod plans;
mod pools;
mod process;
mod progress;
mod publisher;
mod restore;
mod rollout;
mod rpc;
mod sealing;
mod sources;
mod statuses;
mod transport;
mod wire;

pub use app::{Configd, ConfigdError, ConfigdHandle, ConfigdOptions};
pub use cluster::{PeerOptions, PeerStart};
pub use listen::Security;
pub use process::ConfigdArgs;
pub use restore::RestoreArgs;

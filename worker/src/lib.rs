//! The data plane: streams snapshots, applies each whole, serves traffic.
//!
//! [`Worker::start`] starts one. A control task follows configd ([`WorkerOptions::configds`]) and takes
//! each snapshot into use; data threads, one per core, serve it with sockets of their own.

mod access_log;
mod app;
mod apply;
mod configds;
mod date;
mod edge;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod http1;
mod http2;
mod l4;
mod lane;
mod last_good;
mod limits;
mod listen;
mod metrics;
mod pressure;
mod process;
mod serving;
mod subscribe;
mod terms;
mod thread;
mod timer;
mod traces;
mod update;
mod upstream;

pub use access_log::AccessLogTo;
pub use app::{Worker, WorkerHandle, WorkerOptions};
pub use apply::BoundListener;
pub use configds::Configds;
pub use edge::{Edge, EdgeArgs};
pub use limits::{LIMITS, LimitArgs, Limits, Named};
pub use listen::{BindError, BindPolicy, PortPolicy, Transport};
pub use process::WorkerArgs;

//! Ports: binding them, accepting connections, ending them.

mod any_client;
mod bind;
pub(crate) mod clients;
mod connection;
pub(crate) mod ended;
mod hello;
mod multiplexed;
mod serve;
pub(crate) mod tls;

pub(crate) use bind::bind;
pub use bind::{BindError, BindPolicy, PortPolicy};
pub(crate) use connection::accept;

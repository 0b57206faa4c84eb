//! Ports: binding them, accepting connections, ending them.

mod any_client;
mod bind;
mod connection;
pub(crate) mod ended;
mod hello;
pub(crate) mod open;
mod serve;
pub(crate) mod tls;
pub(crate) mod unsent;

pub use bind::{BindError, BindPolicy, PortPolicy, Transport};
pub(crate) use bind::{bind, bind_udp};
pub(crate) use connection::accept;

//! Layer 4: connections and datagrams whose bytes are passed on as they are.

mod connect;
mod flow;
pub(crate) mod relay;
mod serve;
pub(crate) mod udp;

pub(crate) use flow::{Protocol, Record};
pub(crate) use serve::Arrival;

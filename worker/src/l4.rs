//! Layer 4: connections whose bytes are passed on as they are.

mod connect;
mod flow;
pub(crate) mod relay;
mod serve;

pub(crate) use flow::Record;
pub(crate) use serve::Arrival;

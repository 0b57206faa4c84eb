//! Backends: their endpoints, health and bounds, and the connections to them.

mod balance;
mod budget;
mod dial;
mod direct;
mod dns;
mod endpoint;
mod gate;
mod members;
mod metered;
mod pool;
mod ring;
mod tls;
mod verifier;

pub(crate) use balance::{Source, TlsClients, Upstream};
pub(crate) use direct::{Direct, Place};
pub(crate) use dns::Dns;
pub(crate) use endpoint::Endpoint;
pub(crate) use members::Wish;
pub(crate) use pool::{Lease, Pool, Sent};
pub(crate) use tls::TlsClient;

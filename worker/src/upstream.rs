//! Backends: their endpoints, health and bounds, and the connections to them.

mod balance;
mod body;
mod budget;
mod dial;
mod direct;
mod dns;
mod endpoint;
mod failure;
mod gate;
mod http1;
mod http2;
mod lease;
mod members;
mod pool;
mod raw;
mod ring;
mod tls;
mod verifier;

pub(crate) use balance::{Source, TlsClients, Upstream};
pub(crate) use body::Body;
pub(crate) use direct::{Direct, Place};
pub(crate) use dns::Dns;
pub(crate) use endpoint::Endpoint;
pub(crate) use failure::UpstreamError;
pub(crate) use lease::{Lease, Sent};
pub(crate) use members::Wish;
pub(crate) use pool::Pool;
pub(crate) use raw::Raw;
pub(crate) use tls::TlsClient;

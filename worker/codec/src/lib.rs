//! The bytes of clients in, heads, chunks and addresses out: strict, bounded, without I/O.

pub mod client_hello;
pub mod http1;
pub mod path;
pub mod proxy_protocol;
mod refusal;

pub use refusal::Refusal;

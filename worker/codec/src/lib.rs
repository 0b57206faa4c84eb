//! The bytes of clients and backends in, heads, chunks and addresses out: strict, bounded, without I/O.

pub mod client_hello;
mod fault;
pub mod http1;
pub mod http2;
pub mod path;
pub mod proxy_protocol;
mod refusal;

pub use fault::Fault;
pub use refusal::Refusal;

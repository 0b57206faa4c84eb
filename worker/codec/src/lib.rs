//! The bytes of clients in, heads, chunks and addresses out: strict, bounded, without I/O.

pub mod http1;
pub mod path;
mod refusal;

pub use refusal::Refusal;

//! The bytes of clients in, heads, chunks and addresses out: strict, bounded, without I/O.

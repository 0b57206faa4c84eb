//! What hostile and sloppy clients send, and what must come of it: clients and backends that read and write
//! bytes as they are, and a configd and a worker in this process to stand between them.

pub mod backend;
pub mod floods;
pub mod frames;
pub mod message;
pub mod octets;
pub mod process;
pub mod slow;
pub mod smuggling;
pub mod stream;
pub mod tidegate;
pub mod wire;
pub mod world;

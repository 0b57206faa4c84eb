//! The way to other nodes: what openraft sends them, over gRPC, and what they send us.
//!
//! Payloads are the bytes that the log holds. Every message names its cluster, its epoch and the node it is for, so that
//! a node that finds itself at a recycled address is refused instead of believed.

mod dial;
mod image;
mod incoming;
mod network;
mod refusal;
mod server;
mod service;
mod wire;

pub use dial::{Dial, PlainDial};
pub use incoming::Incoming;

pub(crate) use image::{Received, pieces, receive};
pub(crate) use network::{Network, READ_DEADLINE, WRITE_DEADLINE};
pub(crate) use server::PeerServer;
pub(crate) use service::Desk;
pub(crate) use wire::{member, member_wire};

/// Bytes of one message, at most: the largest command with its framing.
const MESSAGE_BYTES_MAX: usize = 20 << 20;

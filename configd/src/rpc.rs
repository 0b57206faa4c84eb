//! The gRPC services: each checks its requests and answers from the store, the board and the fleet.

pub(crate) mod cluster;
pub(crate) mod objects;
pub(crate) mod snapshots;
pub(crate) mod statuses;

use std::pin::Pin;

use futures_util::Stream;
use tonic::Status;

/// Bytes of one message, at most: a full batch of objects with its framing.
pub(crate) const MESSAGE_BYTES_MAX: usize = 20 << 20;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

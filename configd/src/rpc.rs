//! The gRPC services: each checks its requests and answers from the store, the board and the fleet.

pub(crate) mod history;
pub(crate) mod objects;
pub(crate) mod plans;
pub(crate) mod rollouts;
pub(crate) mod snapshots;
pub(crate) mod statuses;
pub(crate) mod version;

use std::pin::Pin;

use futures_util::Stream;
use tonic::Status;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

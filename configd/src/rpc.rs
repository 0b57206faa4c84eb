//! The gRPC services: each checks its requests and answers from the store, the board and the fleet.

pub(crate) mod objects;
pub(crate) mod snapshots;
pub(crate) mod statuses;

use std::pin::Pin;

use futures_util::Stream;
use tonic::{Request, Status};

use crate::access::Refusal;
use crate::caller::Caller;
use crate::error;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Who sent a request.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>();
    caller
        .cloned()
        .ok_or_else(|| error::refused(&Refusal::Unidentified))
}

/// The source that a request is about.
fn source(caller: &Caller, asked: &str) -> Result<String, Status> {
    let source = caller.source(asked);
    source.map_err(|refusal| error::refused(&refusal))
}

//! The gRPC services: each checks its requests and answers from the store, the board and the fleet.

pub(crate) mod cluster;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod objects;
pub(crate) mod plans;
pub(crate) mod recorder;
pub(crate) mod rollouts;
pub(crate) mod snapshots;
pub(crate) mod sources;
pub(crate) mod statuses;
pub(crate) mod version;

use std::pin::Pin;

use futures_util::Stream;
use tonic::{Request, Status};

use crate::access::Refusal;
use crate::call::Call;
use crate::caller::Caller;
use crate::error;

/// Bytes of one message, at most: a full batch of objects with its framing.
pub(crate) const MESSAGE_BYTES_MAX: usize = 20 << 20;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Who sent a request.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>();
    caller
        .cloned()
        .ok_or_else(|| error::refused(&Refusal::Unidentified))
}

/// What is to be recorded of a request that changes state.
fn call<T>(request: &Request<T>) -> Call {
    // Without the gate in front there is nobody to write the record.
    request
        .extensions()
        .get::<Call>()
        .cloned()
        .unwrap_or_default()
}

/// A request with the name of who sent it: that of the certificate, and what the request says only where there is none.
fn signed<T>(
    request: Request<T>,
    requested_by: impl FnOnce(&mut T) -> &mut String,
) -> Result<T, Status> {
    let caller = caller(&request)?;
    let mut request = request.into_inner();
    if let Caller::Peer(identity) = caller {
        *requested_by(&mut request) = identity.to_string();
    }
    Ok(request)
}

/// The source that a request is about.
fn source(caller: &Caller, asked: &str) -> Result<String, Status> {
    let source = caller.source(asked);
    source.map_err(|refusal| error::refused(&refusal))
}

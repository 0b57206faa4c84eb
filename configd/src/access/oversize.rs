//! Messages beyond their bound, which no service sees: the codec refuses them, and this says so as everything else does.

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::error;

/// How the codec's refusal begins.
const REFUSAL: &str = "Error, decoded message length too large";

/// The refusal in our words, if the answer is one.
pub(crate) fn refusal(answer: &Response<Body>) -> Option<Status> {
    let status = Status::from_header_map(answer.headers())?;
    of(&status)
}

/// The same where a stream ends with it.
pub(crate) fn of(status: &Status) -> Option<Status> {
    let too_large = status.code() == Code::OutOfRange && status.message().starts_with(REFUSAL);
    too_large.then(|| {
        let bounds = status.message().trim_start_matches(REFUSAL);
        let bounds = bounds.trim_start_matches(": ");
        error::too_large(format!(
            "the message is too large: {bounds}; send several smaller ones"
        ))
    })
}

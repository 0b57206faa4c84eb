//! Puts the id of a call into its answer, and into the details of its error.

use std::collections::HashMap;

use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::CallId;
use super::id::HEADER;
use crate::error::REASON_DOMAIN;
use crate::name::code_name;

/// The error that an answer is, as far as its head shows: those of streams may come later.
pub(super) fn failure<B>(answer: &Response<B>) -> Option<Status> {
    failure_in(answer.headers())
}

fn failure_in(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)
}

/// The answer with the id of its call; an error gets it as RequestInfo, and an ErrorInfo where it has none.
pub(super) fn tagged(mut answer: Response<Body>, id: &CallId) -> Response<Body> {
    if let Some(status) = failure(&answer) {
        let extensions = std::mem::take(answer.extensions_mut());
        answer = detailed(&status, id).into_http();
        *answer.extensions_mut() = extensions;
    }
    answer.headers_mut().insert(HEADER, id.header());
    let id = id.clone();
    answer.map(|body| Body::new(body.map_frame(move |frame| tagged_frame(frame, &id))))
}

/// Streams and answers with a body end with trailers, and have their errors there.
fn tagged_frame<D>(frame: Frame<D>, id: &CallId) -> Frame<D> {
    let trailers = match frame.into_trailers() {
        Ok(trailers) => trailers,
        Err(frame) => return frame,
    };
    let Some(status) = failure_in(&trailers) else {
        return Frame::trailers(trailers);
    };
    let mut tagged = HeaderMap::new();
    match detailed(&status, id).add_header(&mut tagged) {
        Ok(()) => Frame::trailers(tagged),
        Err(_) => Frame::trailers(trailers),
    }
}

fn detailed(status: &Status, id: &CallId) -> Status {
    // What cannot be read is no detail of ours, and is left out.
    let mut details: ErrorDetails = status.check_error_details().unwrap_or_default();
    details.set_request_info(id.to_string(), "");
    if details.error_info().is_none() {
        let about = HashMap::<String, String>::new();
        details.set_error_info(code_name(status.code()), REASON_DOMAIN, about);
    }
    Status::with_error_details_and_metadata(
        status.code(),
        status.message(),
        details,
        status.metadata().clone(),
    )
}

//! Authorization servers that are asked over HTTP: a request like the client's, and 200 lets it pass.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Response, StatusCode};

use super::{Question, grpc_refusal, may_set};
use crate::error::ProxyError;
use crate::http::body::ResponseBody;
use crate::http::call::{Call, discard};
use crate::http::filter;
use crate::http::forward::Head;
use crate::upstream::{self, Lease, Upstream};

/// What goes along in any case, beside method, path, host and length.
const ALWAYS: [HeaderName; 1] = [header::AUTHORIZATION];

/// The head of the question.
pub(super) fn head(
    question: &Question<'_>,
    path_prefix: &str,
    allowed: &[HeaderName],
    headers: &HeaderMap,
    body_len: usize,
) -> Result<Head, ProxyError> {
    let mut sent = HeaderMap::with_capacity(allowed.len() + 3);
    let names = ALWAYS.iter().chain(allowed);
    for name in names.filter(|name| may_set(name)) {
        for value in headers.get_all(name) {
            sent.append(name, value.clone());
        }
    }
    if let Some(host) = question.host {
        sent.insert(header::HOST, host.clone());
    }
    sent.insert(header::CONTENT_LENGTH, HeaderValue::from(body_len));
    let path = question
        .uri
        .path_and_query()
        .map_or("/", PathAndQuery::as_str);
    let path = format!("{}{path}", path_prefix.trim_end_matches('/'));
    Ok(Head {
        method: question.method.clone(),
        path_and_query: PathAndQuery::try_from(path).map_err(|_| ProxyError::AuthUnavailable)?,
        headers: sent,
    })
}

/// Asks.
pub(super) async fn call(
    question: &Question<'_>,
    upstream: &Upstream,
    head: &Head,
    body: &Bytes,
) -> Result<(Response<upstream::Body>, Lease), ProxyError> {
    let call = Call {
        upstream,
        protocol: upstream.backend.protocol,
        scheme: question.connection.scheme(),
        certificate: question.certificate,
        repeatable: true,
    };
    call.send(question.thread, head, body).await
}

/// Copies headers of an answer that lets the request pass. A client cannot set what the server is to set:
/// headers that are named and that the server leaves out are removed.
pub(super) fn copy(answer: &HeaderMap, allowed: &[HeaderName], headers: &mut HeaderMap) {
    for name in allowed.iter().filter(|name| may_set(name)) {
        headers.remove(name);
        for value in answer.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    if allowed.is_empty() {
        let copied = answer
            .keys()
            .filter(|name| may_set(name) && !is_of_body(name));
        for name in copied {
            headers.remove(name);
            for value in answer.get_all(name) {
                headers.append(name, value.clone());
            }
        }
    }
}

/// Whether a header describes the body that it came with, which is not the request's.
fn is_of_body(name: &HeaderName) -> bool {
    name.as_str().starts_with("content-")
}

/// The server's answer, for the client. Success of another kind than 200 is no success.
pub(super) fn refusal(
    question: &Question<'_>,
    mut response: Response<upstream::Body>,
    lease: Lease,
    grpc: bool,
) -> Response<ResponseBody> {
    if response.status().is_success() || response.status().is_informational() {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    if grpc {
        let refusal = grpc_refusal(response.status(), "");
        discard(response.into_body(), lease);
        return refusal;
    }
    filter::remove_hop_by_hop(response.headers_mut());
    let (mut parts, incoming) = response.into_parts();
    parts.version = http::Version::HTTP_11;
    let deadline = question.deadline.map(Into::into);
    Response::from_parts(
        parts,
        ResponseBody::streamed(incoming, Some(lease), deadline),
    )
}

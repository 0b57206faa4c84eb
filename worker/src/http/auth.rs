//! Asking a server whether a request may pass (GEP-1494). Whatever goes wrong, it may not.

mod over_grpc;
mod over_http;

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use tidegate_ir::{PartName, Target};
use tidegate_router::{CompiledAuth, CompiledAuthProtocol};

use crate::error::ProxyError;
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::exchange::Exchange;
use crate::http::filter;
use crate::http::grpc;
use crate::http::stack::Connection;
use crate::serving::Serving;
use crate::thread::Thread;
use crate::upstream::Upstream;

/// The request in question, as its client sent it.
#[derive(Debug)]
pub(crate) struct Question<'q> {
    pub(crate) thread: &'q Rc<Thread>,
    pub(crate) connection: &'q Connection,
    pub(crate) serving: &'q Serving,
    pub(crate) method: &'q Method,
    pub(crate) uri: &'q Uri,
    /// With port, as the client sent it.
    pub(crate) host: Option<&'q HeaderValue>,
    /// The certificate that the listener shows to backends.
    pub(crate) certificate: Option<&'q PartName>,
    /// The end of the client's patience.
    pub(crate) deadline: Option<Instant>,
}

/// The answer for a client whose request is refused; `None` for a request that may pass.
type Refusal = Option<Response<ResponseBody>>;

/// Asks the server of a filter. Headers that it wants are set on the request, or kept for the answer; the
/// body is gathered where the server wants to see it.
///
/// Returns the answer to a request that is refused.
///
/// # Errors
/// When the server cannot be asked, or gives no valid answer in time, or the body is too large for it.
pub(crate) async fn ask(
    auth: &CompiledAuth,
    question: &Question<'_>,
    headers: &mut HeaderMap,
    body: &mut RequestBody,
    exchange: &mut Exchange,
) -> Result<Refusal, ProxyError> {
    let name = match &auth.target {
        Target::Backend(name) => name,
        Target::Fault(reason) => return Err(ProxyError::Fault(reason.clone())),
    };
    let upstream = question.serving.upstream(name);
    let upstream = upstream.ok_or(ProxyError::AuthUnavailable)?;
    let shown = question.body(auth, body).await?;
    let limit = Instant::now() + question.thread.limits.auth_timeout;
    let until = question
        .deadline
        .map_or(limit, |deadline| deadline.min(limit));
    let asking = question.ask(auth, upstream, headers, shown, exchange);
    let refusal = match tokio::time::timeout_at(until.into(), asking).await {
        Ok(Ok(refusal)) => refusal,
        Ok(Err(error)) => {
            tracing::debug!(server = %name, %error, "an authorization server could not be asked");
            return Err(ProxyError::AuthUnavailable);
        }
        Err(_) if until < limit => return Err(ProxyError::RequestTimeout),
        Err(_) => return Err(ProxyError::AuthUnavailable),
    };
    if refusal.is_some() {
        exchange.record.reason = Some("auth_denied");
    }
    Ok(refusal)
}

impl Question<'_> {
    async fn ask(
        &self,
        auth: &CompiledAuth,
        upstream: &Upstream,
        headers: &mut HeaderMap,
        shown: Bytes,
        exchange: &mut Exchange,
    ) -> Result<Refusal, ProxyError> {
        match &auth.protocol {
            CompiledAuthProtocol::Http {
                path_prefix,
                allowed_headers,
                allowed_response_headers,
            } => {
                let head =
                    over_http::head(self, path_prefix, allowed_headers, headers, shown.len())?;
                let (response, lease) = over_http::call(self, upstream, &head, &shown).await?;
                if response.status() != StatusCode::OK {
                    let refusal = over_http::refusal(self, response, lease, exchange.record.grpc);
                    return Ok(Some(refusal));
                }
                over_http::copy(response.headers(), allowed_response_headers, headers);
                super::call::discard(response.into_body(), lease);
                Ok(None)
            }
            CompiledAuthProtocol::Grpc { allowed_headers } => {
                let check = over_grpc::check(self, allowed_headers, headers, &shown, exchange);
                let answer = over_grpc::call(self, upstream, &check).await?;
                Ok(over_grpc::verdict(answer, headers, exchange))
            }
        }
    }

    /// What the server is shown of the body.
    async fn body(&self, auth: &CompiledAuth, body: &mut RequestBody) -> Result<Bytes, ProxyError> {
        let Some(bytes_max) = auth.body_bytes_max else {
            return Ok(Bytes::new());
        };
        let limit = Instant::now() + self.thread.limits.auth_body_timeout;
        let until = self.deadline.map_or(limit, |deadline| deadline.min(limit));
        match tokio::time::timeout_at(until.into(), body.gather(bytes_max)).await {
            Ok(gathered) => gathered,
            Err(_) if until < limit => Err(ProxyError::RequestTimeout),
            Err(_) => Err(ProxyError::RequestBodyTimeout),
        }
    }
}

/// Whether a server may set a header on a request: it may not move the request elsewhere, nor break its framing.
fn may_set(name: &HeaderName) -> bool {
    name != header::HOST && !filter::is_framing(name)
}

/// What a gRPC client gets in place of a refusal that speaks HTTP.
fn grpc_refusal(status: StatusCode, message: &str) -> Response<ResponseBody> {
    let message = if message.is_empty() {
        "the authorization server refuses this request"
    } else {
        message
    };
    grpc::answer(grpc::Code::of_status(status), message)
}

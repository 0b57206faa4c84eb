//! Forwarding: filters, the choice of an endpoint, the attempts, and the way back.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tidegate_ir::{BackendProtocol, Target};
use tidegate_router::{CompiledChoice, CompiledRule};
use tracing::Instrument as _;

use crate::error::ProxyError;
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::exchange::Exchange;
use crate::http::filter::{self, Changes};
use crate::http::mirror;
use crate::http::stack::Connection;
use crate::http::upgrade;
use crate::serving::Serving;
use crate::thread::Thread;
use crate::traces;
use crate::upstream::{Lease, Sent, Upstream};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What forwarding a request takes.
pub(crate) struct Forwarding<'s> {
    pub(crate) thread: &'s Rc<Thread>,
    pub(crate) connection: &'s Rc<Connection>,
    pub(crate) serving: &'s Serving,
    pub(crate) rule: &'s Arc<CompiledRule>,
    /// Bytes of the path that the rule's prefix covers.
    pub(crate) prefix_len: usize,
    /// The scheme of the client's request.
    pub(crate) scheme: &'static str,
}

/// The head of a request, so that it can be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    method: http::Method,
    path_and_query: PathAndQuery,
    headers: HeaderMap,
}

/// The answer of a backend, and the connection that it came by.
struct Answer {
    response: Response<Incoming>,
    lease: Lease,
}

/// Sends a request to one choice of its rule and passes the answer on.
pub(crate) async fn forward(
    forwarding: &Forwarding<'_>,
    choice: &CompiledChoice,
    mut request: Request<Incoming>,
    exchange: &mut Exchange,
) -> Result<Response<ResponseBody>, ProxyError> {
    let backend = match &choice.target {
        Target::Backend(name) => name,
        Target::Fault(reason) => return Err(ProxyError::Fault(reason.clone())),
    };
    exchange.record.backend = Some(backend.clone());
    // The closure check guarantees that every backend of a rule is there.
    let upstream = forwarding
        .serving
        .upstream(backend)
        .ok_or(ProxyError::NoEndpoint)?;
    let wanted = upgrade::wanted(request.headers())
        .filter(|_| upstream.backend.protocol == BackendProtocol::Http1);
    let client = wanted.is_some().then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let (mut head, changes) = prepare(forwarding, choice, parts)?;
    if let Some(wanted) = wanted {
        upgrade::ask(&mut head.headers, wanted);
    }
    let body = mirror::send(forwarding, &changes.mirrors, &head, body);
    let deadline = forwarding
        .rule
        .timeouts
        .request_ms
        .map(Duration::from_millis);
    let deadline = deadline.map(|within| exchange.record.started + within);
    let attempts = attempts(forwarding, upstream, head, body, exchange);
    let answer = match deadline {
        Some(at) => tokio::time::timeout_at(at.into(), attempts)
            .await
            .unwrap_or(Err(ProxyError::RequestTimeout))?,
        None => attempts.await?,
    };
    Ok(pass_back(forwarding, choice, answer, client, deadline))
}

/// Filters and forwarding headers: the head that goes to the backend.
fn prepare<'f>(
    forwarding: &Forwarding<'f>,
    choice: &'f CompiledChoice,
    parts: http::request::Parts,
) -> Result<(Head, Changes<'f>), ProxyError> {
    let mut headers = parts.headers;
    let host = headers.get(header::HOST).cloned();
    filter::remove_hop_by_hop(&mut headers);
    headers.remove(header::EXPECT);
    join_cookies(&mut headers);
    set_forwarded(forwarding, host, &mut headers);
    let path = parts.uri.path();
    let mut changes = Changes::default();
    for filters in [&forwarding.rule.filters, &choice.filters] {
        filter::on_request(
            filters,
            &mut headers,
            path,
            forwarding.prefix_len,
            &mut changes,
        );
    }
    let path_and_query = match &changes.path {
        Some(path) => with_query(path, parts.uri.query())?,
        None => parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or(PathAndQuery::from_static("/")),
    };
    Ok((
        Head {
            method: parts.method,
            path_and_query,
            headers,
        },
        changes,
    ))
}

/// HTTP/2 clients may send a cookie in crumbs, which HTTP/1.1 does not know (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, cookie);
    }
}

fn with_query(path: &str, query: Option<&str>) -> Result<PathAndQuery, ProxyError> {
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    PathAndQuery::try_from(text)
        .map_err(|_| ProxyError::Fault("the rewritten path is not a valid path".into()))
}

/// Says who asked, and how. What a client claims about itself is replaced: nobody vouches for it.
fn set_forwarded(forwarding: &Forwarding<'_>, host: Option<HeaderValue>, headers: &mut HeaderMap) {
    let client = forwarding.connection.forwarded_for();
    headers.insert(FORWARDED_FOR, client);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(forwarding.scheme));
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// Tries endpoints until one accepts a connection; sends again only what no endpoint has seen, or what
/// has no body and met a connection that was closed while unused.
async fn attempts(
    forwarding: &Forwarding<'_>,
    upstream: &Upstream,
    head: Head,
    body: RequestBody,
    exchange: &mut Exchange,
) -> Result<Answer, ProxyError> {
    let protocol = upstream.backend.protocol;
    let mut outcome = Err(ProxyError::NoEndpoint);
    for address in upstream.next(forwarding.thread.limits.connect_attempts_max) {
        exchange.record.endpoint = Some(address);
        outcome = forwarding.connect(address, protocol, false).await;
        if outcome.is_ok() {
            break;
        }
        exchange.record.retries += 1;
    }
    let attempt = outcome?;
    let spare = (attempt.lease.is_reused() && body.is_end_stream()).then(|| head.clone());
    let (address, request) = (
        attempt.address,
        head.into_request(protocol, forwarding.scheme, body),
    );
    let failure = match attempt.send(forwarding, request, exchange).await {
        Ok(answer) => return Ok(answer),
        Err(failure) => failure,
    };
    let again = match (failure.unsent, spare) {
        (Some(unsent), _) => *unsent,
        (None, Some(head)) if failure.closed => {
            head.into_request(protocol, forwarding.scheme, RequestBody::Empty)
        }
        _ => return Err(failure.error),
    };
    exchange.record.retries += 1;
    let attempt = forwarding.connect(address, protocol, true).await?;
    let sent = attempt.send(forwarding, again, exchange).await;
    sent.map_err(|failure| failure.error)
}

/// One attempt at a backend: a connection, and how long the rule lets the attempt take.
struct Attempt {
    address: SocketAddr,
    lease: Lease,
    started: Instant,
    deadline: Option<Instant>,
}

/// Why an attempt failed.
struct Failure {
    error: ProxyError,
    /// The request, where nothing of it was sent.
    unsent: Option<Box<Request<RequestBody>>>,
    /// The connection was closed before anything was received.
    closed: bool,
}

impl Forwarding<'_> {
    async fn connect(
        &self,
        address: SocketAddr,
        protocol: BackendProtocol,
        fresh: bool,
    ) -> Result<Attempt, ProxyError> {
        let started = Instant::now();
        let timeout = self
            .rule
            .timeouts
            .backend_request_ms
            .map(Duration::from_millis);
        let deadline = timeout.map(|timeout| started + timeout);
        let connecting = self.thread.pool.connect(address, protocol, fresh);
        let lease = within(deadline, connecting).await??;
        Ok(Attempt {
            address,
            lease,
            started,
            deadline,
        })
    }
}

impl Attempt {
    async fn send(
        self,
        forwarding: &Forwarding<'_>,
        request: Request<RequestBody>,
        exchange: &mut Exchange,
    ) -> Result<Answer, Failure> {
        let Self {
            mut lease,
            started,
            deadline,
            ..
        } = self;
        let sent = if forwarding.thread.traces {
            let mut request = request;
            let span = traces::client_span(&exchange.record, request.headers_mut());
            let sending = lease.send(request).instrument(span);
            Box::pin(within(deadline, sending)).await
        } else {
            within(deadline, lease.send(request)).await
        };
        exchange.record.upstream = Some(started.elapsed());
        match sent {
            Ok(Sent::Answered(response)) => Ok(Answer { response, lease }),
            Ok(Sent::Failed(error, unsent)) => {
                tracing::debug!(%error, "an attempt at an endpoint failed");
                Err(Failure {
                    closed: was_closed(&error),
                    error: classify(&error),
                    unsent,
                })
            }
            Err(error) => Err(Failure {
                error,
                unsent: None,
                closed: false,
            }),
        }
    }
}

async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Result<F::Output, ProxyError> {
    match deadline {
        Some(at) => {
            let output = tokio::time::timeout_at(at.into(), future).await;
            output.map_err(|_| ProxyError::BackendTimeout)
        }
        None => Ok(future.await),
    }
}

impl Head {
    pub(crate) fn into_request(
        self,
        protocol: BackendProtocol,
        scheme: &'static str,
        body: RequestBody,
    ) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.headers_mut() = self.headers;
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = Some(self.path_and_query);
        if protocol == BackendProtocol::Http2 {
            let host = request.headers_mut().remove(header::HOST);
            uri.authority = host.and_then(|host| host.as_bytes().try_into().ok());
            uri.scheme = scheme.parse().ok().filter(|_| uri.authority.is_some());
            *request.version_mut() = Version::HTTP_2;
        }
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        request
    }
}

/// The backend's answer with the rule's changes, on its way to the client.
fn pass_back(
    forwarding: &Forwarding<'_>,
    choice: &CompiledChoice,
    answer: Answer,
    client: Option<OnUpgrade>,
    deadline: Option<Instant>,
) -> Response<ResponseBody> {
    let Answer {
        mut response,
        lease,
    } = answer;
    let filters = [&choice.filters, &forwarding.rule.filters];
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client
    {
        let (open, stop) = (forwarding.thread.open(), forwarding.connection.stop.clone());
        let mut response = upgrade::tunnel(client, response, open, stop);
        filters
            .iter()
            .for_each(|f| filter::on_response(f, response.headers_mut()));
        return response;
    }
    filter::remove_hop_by_hop(response.headers_mut());
    filters
        .iter()
        .for_each(|f| filter::on_response(f, response.headers_mut()));
    let (mut parts, incoming) = response.into_parts();
    parts.version = Version::HTTP_11;
    let body = ResponseBody::streamed(incoming, Some(lease), deadline.map(Into::into));
    Response::from_parts(parts, body)
}

fn was_closed(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || is_reset(error)
}

fn is_reset(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        matches!(io.kind(), ConnectionReset | BrokenPipe)
    })
}

fn classify(error: &hyper::Error) -> ProxyError {
    if error.is_user() {
        ProxyError::RequestBody
    } else if error.is_parse() {
        ProxyError::UpstreamInvalid
    } else {
        ProxyError::UpstreamClosed
    }
}

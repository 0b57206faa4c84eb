//! Forwarding: filters, the choice of an endpoint, the attempts, and the way back.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tidegate_ir::{BackendProtocol, PartName, Target};
use tidegate_router::{CompiledChoice, CompiledRule};
use tracing::Instrument as _;

use crate::error::ProxyError;
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::cors::Grant;
use crate::http::draft::Draft;
use crate::http::exchange::Exchange;
use crate::http::filter;
use crate::http::grpc;
use crate::http::mirror;
use crate::http::stack::Connection;
use crate::http::upgrade;
use crate::serving::Serving;
use crate::thread::Thread;
use crate::traces;
use crate::upstream::{Endpoint, Lease, Sent, Upstream, Wish};

/// What forwarding a request takes.
#[derive(Debug)]
pub(crate) struct Forwarding<'s> {
    pub(crate) thread: &'s Rc<Thread>,
    pub(crate) connection: &'s Rc<Connection>,
    pub(crate) serving: &'s Serving,
    pub(crate) rule: &'s Arc<CompiledRule>,
    /// Bytes of the path that the rule's prefix covers.
    pub(crate) prefix_len: usize,
    /// The scheme of the client's request.
    pub(crate) scheme: &'static str,
    /// The certificate that the listener shows to backends.
    pub(crate) certificate: Option<&'s PartName>,
}

/// The head of a request, so that it can be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) path_and_query: PathAndQuery,
    pub(crate) headers: HeaderMap,
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
    mut request: Parts,
    mut body: RequestBody,
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
    let wanted = upgrade::wanted(&request.headers)
        .filter(|_| upstream.backend.protocol == BackendProtocol::Http1);
    let client = wanted.as_ref().and_then(|_| request.extensions.remove());
    let deadline = forwarding.deadline(&request.headers, exchange);
    let grant = choice.filters.cors();
    let grant = grant.map(|cors| Grant::new(cors, &request.headers));
    if let Some(answer) = grant.as_ref().and_then(|grant| grant.preflight(&request)) {
        exchange.record.reason = Some("cors_preflight");
        return Ok(answer);
    }
    let mut draft = Draft::new(forwarding, request);
    let filters = [&forwarding.rule.filters, &choice.filters];
    if filters.iter().any(|filters| filters.asks()) {
        let asking = draft.apply_asking(&filters, &mut body, deadline, exchange);
        if let Some(refusal) = Box::pin(asking).await? {
            return Ok(refusal);
        }
    } else {
        filters
            .iter()
            .for_each(|filters| draft.apply(filters.list()));
    }
    let (mut head, mirrors) = draft.finish()?;
    if let Some(wanted) = wanted {
        upgrade::ask(&mut head.headers, wanted);
    }
    let body = mirror::send(forwarding, &mirrors, &head, body);
    let attempts = attempts(forwarding, upstream, head, body, exchange);
    let answer = match deadline {
        Some(at) => tokio::time::timeout_at(at.into(), attempts)
            .await
            .unwrap_or(Err(ProxyError::RequestTimeout))?,
        None => attempts.await?,
    };
    let mut response = pass_back(forwarding, choice, answer, client, deadline);
    if let Some(grant) = grant {
        grant.apply(&mut response);
    }
    Ok(response)
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
    upstream.ready().await;
    let wish = Wish {
        hash: upstream.hash_of(&head.headers, forwarding.connection.client),
        pinned: None,
    };
    let mut outcome = Err(ProxyError::NoEndpoint);
    for endpoint in upstream.candidates(wish, forwarding.thread.limits.connect_attempts_max) {
        exchange.record.endpoint = Some(endpoint.address);
        outcome = forwarding.connect(upstream, &endpoint, false).await;
        if !matches!(
            outcome,
            Err(ProxyError::ConnectFailed | ProxyError::ConnectTimeout | ProxyError::UpstreamTls)
        ) {
            break;
        }
        exchange.record.retries += 1;
    }
    let attempt = outcome?;
    let spare = (attempt.lease.is_reused() && body.is_end_stream()).then(|| head.clone());
    let endpoint = attempt.endpoint.clone();
    let request = head.into_request(protocol, forwarding.scheme, body);
    let failure = match attempt.send(forwarding, upstream, request, exchange).await {
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
    let attempt = forwarding.connect(upstream, &endpoint, true).await?;
    let sent = attempt.send(forwarding, upstream, again, exchange).await;
    sent.map_err(|failure| failure.error)
}

/// One attempt at a backend: a connection, and how long the rule lets the attempt take.
struct Attempt {
    endpoint: Arc<Endpoint>,
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
    /// When the request has to be answered: by the rule, or earlier by the client's own deadline.
    pub(crate) fn deadline(&self, headers: &HeaderMap, exchange: &Exchange) -> Option<Instant> {
        let rule = self.rule.timeouts.request_ms.map(Duration::from_millis);
        let client = exchange
            .record
            .grpc
            .then(|| grpc::timeout(headers))
            .flatten();
        let timeout = [rule, client].into_iter().flatten().min()?;
        exchange.record.started.checked_add(timeout)
    }

    async fn connect(
        &self,
        upstream: &Upstream,
        endpoint: &Arc<Endpoint>,
        fresh: bool,
    ) -> Result<Attempt, ProxyError> {
        let transport = upstream.transport(self.certificate)?;
        let ticket = upstream.admit(endpoint)?;
        let started = Instant::now();
        let timeout = self
            .rule
            .timeouts
            .backend_request_ms
            .map(Duration::from_millis);
        let deadline = timeout.map(|timeout| started + timeout);
        let (address, protocol) = (endpoint.address, upstream.backend.protocol);
        let connecting = self
            .thread
            .pool
            .connect(address, protocol, transport, fresh);
        let connected = within(deadline, connecting).await.flatten();
        if connected.is_err() {
            upstream.report(endpoint, true);
        }
        let mut lease = connected?;
        lease.hold(ticket);
        Ok(Attempt {
            endpoint: endpoint.clone(),
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
        upstream: &Upstream,
        request: Request<RequestBody>,
        exchange: &mut Exchange,
    ) -> Result<Answer, Failure> {
        let Self {
            endpoint,
            mut lease,
            started,
            deadline,
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
        // A request whose client broke it off says nothing about the endpoint.
        let failed = match &sent {
            Ok(Sent::Answered(response)) => response.status().is_server_error(),
            Ok(Sent::Failed(error, unsent)) => unsent.is_none() && !error.is_user(),
            Err(_) => true,
        };
        upstream.report(&endpoint, failed);
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

//! One client connection and the requests on it: from the head to the answer.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Version, header};
use tidegate_codec::http1::is_host;
use tidegate_codec::{Refusal, path};
use tidegate_router::{Chosen, CompiledAction, ListenerTable, RequestHead, host_of};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::error::ProxyError;
use crate::http::before_routing;
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::client_body::ClientBody;
use crate::http::cors::{self, Grant};
use crate::http::draft::Draft;
use crate::http::exchange::Exchange;
use crate::http::filter;
use crate::http::forward::{self, Forwarding};
use crate::http::forwarded;
use crate::http::interim::Interim;
use crate::http::respond::{self, RedirectSource};
use crate::thread::{Thread, ThreadServing};
use crate::traces;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: SocketAddr,
    pub(crate) bind_port: u16,
    pub(crate) tls: bool,
    /// The name of the TLS handshake, lower case.
    pub(crate) server_name: Option<String>,
    /// Ends tunnels: the process shuts down.
    pub(crate) stop: CancellationToken,
    /// Answers say that the connection closes after them.
    pub(crate) closing: Cell<bool>,
    forwarded_for: HeaderValue,
    requests: Cell<u64>,
    in_flight: Cell<usize>,
    active_at: Cell<Instant>,
}

impl Connection {
    pub(crate) fn new(
        client: SocketAddr,
        bind_port: u16,
        tls: bool,
        server_name: Option<String>,
        stop: CancellationToken,
    ) -> Rc<Self> {
        Rc::new(Self {
            forwarded_for: HeaderValue::from_str(&client.ip().to_canonical().to_string())
                .expect("an address is a header value"),
            client,
            bind_port,
            tls,
            server_name,
            stop,
            closing: Cell::new(false),
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            active_at: Cell::new(Instant::now()),
        })
    }

    pub(crate) fn request_started(&self) {
        self.requests.set(self.requests.get() + 1);
        self.in_flight.set(self.in_flight.get() + 1);
    }

    pub(crate) fn request_ended(&self, at: Instant) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.active_at.set(at);
    }

    /// Whether the connection has had a request at all.
    pub(crate) fn has_served(&self) -> bool {
        self.requests.get() > 0
    }

    /// Since when there is no request, `None` while there is one.
    pub(crate) fn unused_since(&self) -> Option<Instant> {
        (self.in_flight.get() == 0).then(|| self.active_at.get())
    }

    /// The client's address as `X-Forwarded-For` states it.
    pub(crate) fn forwarded_for(&self) -> HeaderValue {
        self.forwarded_for.clone()
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Answers one request; what a backend says before its answer goes to `interim`.
pub(crate) async fn answer(
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    request: Box<Request<ClientBody>>,
    interim: Interim,
) -> Response<ResponseBody> {
    let mut exchange = Exchange::start(&thread, &connection, &request);
    exchange.interim = interim;
    let mut response = if thread.traces {
        Box::pin(respond_traced(&thread, &connection, &mut exchange, request)).await
    } else {
        respond(&thread, &connection, &mut exchange, request).await
    };
    exchange.answered(&mut response);
    response.map(|body| body.complete(exchange))
}

/// The answer to bytes that are no request.
pub(crate) fn refuse(
    thread: &Rc<Thread>,
    connection: &Rc<Connection>,
    refusal: Refusal,
) -> Response<ResponseBody> {
    let mut exchange = Exchange::of_no_request(thread, connection);
    let mut response = exchange.refuse(&ProxyError::Refused(refusal));
    exchange.answered(&mut response);
    response.map(|body| body.complete(exchange))
}

async fn respond_traced(
    thread: &Rc<Thread>,
    connection: &Rc<Connection>,
    exchange: &mut Exchange,
    request: Box<Request<ClientBody>>,
) -> Response<ResponseBody> {
    let span = traces::server_span(&request, connection.scheme());
    let responding = respond(thread, connection, exchange, request);
    let response = responding.instrument(span.clone()).await;
    traces::finish_server_span(&span, &exchange.record, response.status());
    response
}

async fn respond(
    thread: &Rc<Thread>,
    connection: &Rc<Connection>,
    exchange: &mut Exchange,
    request: Box<Request<ClientBody>>,
) -> Response<ResponseBody> {
    let handled = handle(thread, connection, exchange, request).await;
    handled.unwrap_or_else(|error| exchange.refuse(&error))
}

/// Where a request has arrived.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) thread: &'a Rc<Thread>,
    pub(crate) connection: &'a Rc<Connection>,
    pub(crate) serving: &'a ThreadServing,
    /// The request's host with port.
    pub(crate) authority: &'a HeaderValue,
    /// The same without port, in lower case.
    pub(crate) host: &'a str,
}

async fn handle(
    thread: &Rc<Thread>,
    connection: &Rc<Connection>,
    exchange: &mut Exchange,
    request: Box<Request<ClientBody>>,
) -> Result<Response<ResponseBody>, ProxyError> {
    if request.method() == Method::CONNECT {
        let is_extended = request.extensions().get::<h2::ext::Protocol>().is_some();
        return Err(if is_extended {
            ProxyError::Protocol
        } else {
            ProxyError::Connect
        });
    }
    let serving = exchange.serving();
    let terms = serving.serving.terms(connection.bind_port);
    let authority = authority(&request)?;
    check_fields(&request, terms.limits.header_count_max)?;
    let host = host_of(authority.to_str().map_err(|_| ProxyError::BadHost)?);
    let (request, mut client) = request.into_parts();
    // Every function on its way keeps a place for it, so that it had better be small.
    let mut request = Box::new(request);
    client.check_length()?;
    exchange.tunnel = client.take_tunnel();
    let mut body = RequestBody::of_client(client);
    if request.method == Method::OPTIONS && request.uri.path() == "*" {
        // A question about the server as a whole, which is this one (RFC 9110, section 9.3.7).
        return Ok(Response::new(ResponseBody::whole("")));
    }
    if request.uri.authority().is_some() {
        request.headers.insert(header::HOST, authority.clone());
    }
    let path =
        path::normalize(request.uri.path(), terms.edge.paths).map_err(ProxyError::Refused)?;
    if let Cow::Owned(path) = path {
        before_routing::set_path(&mut request, &path)?;
    }
    let id = || thread.random_bits();
    exchange.record.client = forwarded::stamp(terms, connection, &authority, &mut request, id);
    exchange.record.notice_id(&request.headers);
    let arrival = Arrival {
        thread,
        connection,
        serving: &serving,
        authority: &authority,
        host: &host,
    };
    let table = &serving.serving.table;
    let listener = table.listener(connection.bind_port, &host);
    check_server_name(connection, table, listener)?;
    let listener = listener.ok_or(ProxyError::NoListener)?;
    exchange.record.listener = Some(listener.clone());
    if !listener.filters.list().is_empty() {
        let running = before_routing::run(listener, &arrival, &mut request, &mut body, exchange);
        if let Some(refusal) = Box::pin(running).await? {
            return Ok(refusal);
        }
    }
    let Some(chosen) = listener.pick(&arrival.head(&request, &request.method)) else {
        return arrival.without_route(listener, &request, exchange);
    };
    exchange.record.rule = Some(chosen.rule.clone());
    arrival
        .route(listener, chosen, request, body, exchange)
        .await
}

impl Arrival<'_> {
    fn head<'r>(&'r self, request: &'r Parts, method: &'r Method) -> RequestHead<'r> {
        RequestHead {
            method,
            host: self.host,
            path: request.uri.path(),
            query: request.uri.query(),
            headers: &request.headers,
        }
    }

    /// Carries out a rule; what its CORS filter says stands on every answer, the worker's own too.
    async fn route(
        &self,
        listener: &ListenerTable,
        chosen: Chosen<'_>,
        request: Box<Parts>,
        body: RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let grant = chosen.rule.filters.cors();
        let grant = grant.map(|cors| Grant::new(cors, &request.headers));
        if let Some(answer) = grant.as_ref().and_then(|grant| grant.preflight(&request)) {
            exchange.record.reason = Some("cors_preflight");
            return Ok(answer);
        }
        let answered = self.act(listener, chosen, request, body, exchange).await;
        let Some(grant) = grant else {
            return answered;
        };
        let mut response = answered.unwrap_or_else(|error| exchange.refuse(&error));
        grant.apply(&mut response);
        Ok(response)
    }

    async fn act(
        &self,
        listener: &ListenerTable,
        chosen: Chosen<'_>,
        request: Box<Parts>,
        body: RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        match &chosen.rule.action {
            CompiledAction::Fault(reason) => Err(ProxyError::Fault(reason.clone())),
            CompiledAction::Redirect(redirect) => {
                if chosen.rule.filters.asks() {
                    let forwarding = self.forwarding(listener, &chosen);
                    let asking = ask_first(&forwarding, request.clone(), body, exchange);
                    if let Some(refusal) = Box::pin(asking).await? {
                        return Ok(refusal);
                    }
                }
                let source = RedirectSource {
                    scheme: self.connection.scheme(),
                    host: self.host,
                    port: listener.listener.port,
                    path: request.uri.path(),
                    query: request.uri.query(),
                    prefix_len: chosen.prefix_len,
                };
                let mut response = respond::redirect(redirect, &source);
                filter::on_response(&chosen.rule.filters, response.headers_mut());
                Ok(response)
            }
            CompiledAction::Forward(choices) => {
                let forwarding = self.forwarding(listener, &chosen);
                forward::forward(&forwarding, choices.next(), request, body, exchange).await
            }
        }
    }

    fn forwarding<'f>(
        &'f self,
        listener: &'f ListenerTable,
        chosen: &Chosen<'f>,
    ) -> Forwarding<'f> {
        Forwarding {
            thread: self.thread,
            connection: self.connection,
            serving: &self.serving.serving,
            rule: chosen.rule,
            prefix_len: chosen.prefix_len,
            scheme: self.connection.scheme(),
            certificate: listener.listener.backend_client_certificate.as_ref(),
        }
    }

    /// A preflight that no rule matches is for the rule that matches the method that it asks for; every
    /// other request without a rule has no answer.
    fn without_route(
        &self,
        listener: &ListenerTable,
        request: &Parts,
        exchange: &mut Exchange,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let asked = cors::asked_method(&request.method, &request.headers);
        let asked = asked.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let asked = asked.ok_or(ProxyError::NoRoute)?;
        let chosen = listener.pick(&self.head(request, &asked));
        let rule = chosen.ok_or(ProxyError::NoRoute)?.rule;
        let grant = rule.filters.cors().ok_or(ProxyError::NoRoute)?;
        let answer = Grant::new(grant, &request.headers).preflight(request);
        exchange.record.rule = Some(rule.clone());
        exchange.record.reason = Some("cors_preflight");
        answer.ok_or(ProxyError::NoRoute)
    }
}

/// Asks the servers of a rule that answers by itself.
async fn ask_first(
    forwarding: &Forwarding<'_>,
    request: Box<Parts>,
    mut body: RequestBody,
    exchange: &mut Exchange,
) -> Result<Option<Response<ResponseBody>>, ProxyError> {
    let deadline = forwarding.deadline(&request.headers, exchange);
    let mut draft = Draft::new(forwarding, request);
    let filters = [&forwarding.rule.filters];
    draft
        .apply_asking(&filters, &mut body, deadline, exchange)
        .await
}

/// The request's host with port: from the target, else from the one `Host` header (RFC 9112, section 3.2).
///
/// Where both are there, HTTP/1's target counts alone; HTTP/2's must say the same (RFC 9113, section 8.3.1).
fn authority(request: &Request<ClientBody>) -> Result<HeaderValue, ProxyError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let host = match request.uri().authority() {
        Some(authority) => {
            let is_same = |host: &HeaderValue| {
                host.as_bytes()
                    .eq_ignore_ascii_case(authority.as_str().as_bytes())
            };
            let agrees = first.is_none_or(is_same) && second.is_none();
            if request.version() == Version::HTTP_2 && !agrees {
                return Err(ProxyError::BadHost);
            }
            HeaderValue::from_str(authority.as_str()).map_err(|_| ProxyError::BadHost)?
        }
        None => match (first, second) {
            (Some(host), None) => host.clone(),
            (None, _) if request.version() < Version::HTTP_11 => {
                return Ok(HeaderValue::from_static(""));
            }
            _ => return Err(ProxyError::BadHost),
        },
    };
    if is_host(host.as_bytes()) {
        Ok(host)
    } else {
        Err(ProxyError::BadHost)
    }
}

/// What HTTP/2 leaves to its users: two lengths would reach an HTTP/1 backend as such, and fields are not counted.
fn check_fields(request: &Request<ClientBody>, count_max: usize) -> Result<(), ProxyError> {
    if request.headers().len() > count_max {
        return Err(ProxyError::Refused(Refusal::HeadersTooLarge));
    }
    let mut lengths = request.headers().get_all(header::CONTENT_LENGTH).iter();
    if lengths.nth(1).is_some() {
        return Err(ProxyError::Refused(Refusal::ContentLength));
    }
    Ok(())
}

/// A TLS connection serves the listener that its server name selected, and no other (RFC 9110, section 7.4).
fn check_server_name(
    connection: &Connection,
    table: &tidegate_router::Table,
    chosen: Option<&Arc<ListenerTable>>,
) -> Result<(), ProxyError> {
    if !connection.tls {
        return Ok(());
    }
    let name = connection.server_name.as_deref().unwrap_or_default();
    let handshake = table.listener(connection.bind_port, name);
    match (handshake, chosen) {
        (Some(handshake), Some(chosen)) if !Arc::ptr_eq(handshake, chosen) => {
            Err(ProxyError::Misdirected)
        }
        _ => Ok(()),
    }
}

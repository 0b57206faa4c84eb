//! One client connection and the requests on it: from the head to the answer.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;
use tidegate_router::{CompiledAction, ListenerTable, Outcome, RequestHead, host_of};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::error::ProxyError;
use crate::http::body::ResponseBody;
use crate::http::exchange::Exchange;
use crate::http::forward::{self, Forwarding};
use crate::http::respond::{self, RedirectSource};
use crate::thread::Thread;
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

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Answers one request.
pub(crate) async fn answer(
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let version = request.version();
    let mut exchange = Exchange::start(&thread, &connection, &request);
    let mut response = if thread.traces {
        Box::pin(respond_traced(&thread, &connection, &mut exchange, request)).await
    } else {
        respond(&thread, &connection, &mut exchange, request).await
    };
    exchange.answered(response.status());
    if connection.closing.get() && version < Version::HTTP_2 {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| body.complete(exchange)))
}

async fn respond_traced(
    thread: &Rc<Thread>,
    connection: &Rc<Connection>,
    exchange: &mut Exchange,
    request: Request<Incoming>,
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
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let handled = handle(thread, connection, exchange, request).await;
    handled.unwrap_or_else(|error| {
        exchange.record.reason = Some(error.reason());
        respond::error(&error)
    })
}

async fn handle(
    thread: &Rc<Thread>,
    connection: &Rc<Connection>,
    exchange: &mut Exchange,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ProxyError> {
    if request.method() == Method::CONNECT {
        return Err(ProxyError::Connect);
    }
    let authority = authority(&request)?;
    let host = host_of(authority.to_str().map_err(|_| ProxyError::BadHost)?);
    if request.uri().authority().is_some() {
        request
            .headers_mut()
            .insert(header::HOST, authority.clone());
    }
    let serving = exchange.serving();
    let head = RequestHead {
        method: request.method(),
        host: &host,
        path: request.uri().path(),
        query: request.uri().query(),
        headers: request.headers(),
    };
    let decision = serving.serving.table.decide(connection.bind_port, &head);
    check_server_name(connection, &serving.serving.table, decision.listener)?;
    let listener = decision.listener.ok_or(ProxyError::NoListener)?;
    exchange.record.listener = Some(listener.clone());
    let chosen = match decision.outcome {
        Outcome::NoListener => return Err(ProxyError::NoListener),
        Outcome::NoRoute => return Err(ProxyError::NoRoute),
        Outcome::Rule(chosen) => chosen,
    };
    exchange.record.rule = Some(chosen.rule.clone());
    match &chosen.rule.action {
        CompiledAction::Fault(reason) => Err(ProxyError::Fault(reason.clone())),
        CompiledAction::Redirect(redirect) => {
            let source = RedirectSource {
                scheme: connection.scheme(),
                host: &host,
                port: listener.listener.port,
                path: head.path,
                query: head.query,
                prefix_len: chosen.prefix_len,
            };
            let mut response = respond::redirect(redirect, &source);
            crate::http::filter::on_response(&chosen.rule.filters, response.headers_mut());
            Ok(response)
        }
        CompiledAction::Forward(choices) => {
            let forwarding = Forwarding {
                thread,
                connection,
                serving: &serving.serving,
                rule: chosen.rule,
                prefix_len: chosen.prefix_len,
                scheme: connection.scheme(),
            };
            forward::forward(&forwarding, choices.next(), request, exchange).await
        }
    }
}

/// The request's host with port: from the target, else from the one `Host` header (RFC 9112, section 3.2).
fn authority(request: &Request<Incoming>) -> Result<HeaderValue, ProxyError> {
    if let Some(authority) = request.uri().authority() {
        let without_user = authority.as_str().rsplit('@').next().unwrap_or_default();
        return HeaderValue::from_str(without_user).map_err(|_| ProxyError::BadHost);
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(host.clone()),
        (None, _) if request.version() < Version::HTTP_11 => Ok(HeaderValue::from_static("")),
        _ => Err(ProxyError::BadHost),
    }
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

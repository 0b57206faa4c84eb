//! HTTP/2 to endpoints, by hyper: connections that several exchanges share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response, Uri, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::balance::Transport;
use super::dial::dial;
use super::failure::UpstreamError;
use super::gate::Opened;
use super::pool::Place;
use crate::error::ProxyError;
use crate::http::body::RequestBody;
use crate::http::forward::Head;
use crate::limits::Limits;
use crate::thread::LocalExecutor;

/// Connections of one endpoint and thread; further requests queue on them.
const CONNECTIONS_MAX: usize = 8;

/// Streams of one connection before another is opened: what servers usually allow at once.
const STREAMS_MAX: usize = 100;

/// Credit for all streams of a connection together, in bytes: large, so that slow readers do not starve others.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Credit for one stream, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;

/// The connections of one thread, by endpoint.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Arc<Limits>,
    places: RefCell<HashMap<Place, Vec<Multiplexed>>>,
}

#[derive(Debug, Clone)]
pub(super) struct Multiplexed {
    sender: http2::SendRequest<RequestBody>,
    usage: Rc<Usage>,
}

/// How a connection is used.
#[derive(Debug)]
struct Usage {
    streams: Cell<usize>,
    /// When the last stream ended.
    since: Cell<Instant>,
}

/// One exchange on a shared connection.
#[derive(Debug)]
pub(super) struct Stream(Multiplexed);

impl Connections {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            places: RefCell::default(),
        }
    }

    /// Closes what has been unused for too long.
    pub(super) fn sweep(&self, oldest: Duration) {
        self.places.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| {
                let usage = &connection.usage;
                let is_used = usage.streams.get() > 0 || usage.since.get().elapsed() < oldest;
                is_used && !connection.sender.is_closed()
            });
            !connections.is_empty()
        });
    }

    /// A connection that has room for another stream, or any where there are as many as may be.
    pub(super) fn share(&self, place: Place) -> Option<Multiplexed> {
        let mut places = self.places.borrow_mut();
        let connections = places.get_mut(&place)?;
        connections.retain(|connection| !connection.sender.is_closed());
        let has_room = |c: &&Multiplexed| c.usage.streams.get() < STREAMS_MAX;
        let found = connections.iter().find(has_room);
        match connections.len() {
            CONNECTIONS_MAX.. => found.or_else(|| busy_least(connections)).cloned(),
            _ => found.cloned(),
        }
    }

    /// Any connection, for want of a better one.
    pub(super) fn least_busy(&self, place: Place) -> Option<Multiplexed> {
        let mut places = self.places.borrow_mut();
        let connections = places.get_mut(&place)?;
        connections.retain(|connection| !connection.sender.is_closed());
        busy_least(connections).cloned()
    }

    /// # Errors
    /// When the endpoint does not accept a connection in time.
    pub(super) async fn open(
        &self,
        place: Place,
        transport: Transport<'_>,
        opened: Option<Opened>,
    ) -> Result<Multiplexed, ProxyError> {
        let io = dial(place.0, b"", transport.tls, self.limits.connect_timeout).await?;
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(self.limits.header_bytes_max).unwrap_or(u32::MAX))
            .max_send_buf_size(128 << 10)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|_| ProxyError::ConnectFailed)?;
        let usage = Rc::new(Usage {
            streams: Cell::new(0),
            since: Cell::new(Instant::now()),
        });
        let used = usage.clone();
        let running = run(opened, connection, move || used.streams.get() == 0);
        tokio::task::spawn_local(note_end(place, running));
        let connection = Multiplexed { sender, usage };
        let mut places = self.places.borrow_mut();
        let connections = places.entry(place).or_default();
        // Requests that dialled at the same time: the surplus connection ends with its streams.
        if connections.len() < CONNECTIONS_MAX {
            connections.push(connection.clone());
        }
        Ok(connection)
    }
}

impl Stream {
    pub(super) fn new(connection: Multiplexed) -> Self {
        let streams = &connection.usage.streams;
        streams.set(streams.get() + 1);
        Self(connection)
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// When there is none; the body comes back where nothing of the request was sent.
    pub(super) async fn send(
        &mut self,
        head: &Head,
        scheme: &'static str,
        body: RequestBody,
    ) -> Result<Response<Incoming>, (UpstreamError, Option<RequestBody>)> {
        let request = request(head, scheme, body);
        let sent = self.0.sender.try_send_request(request).await;
        sent.map_err(|mut error| {
            let unsent = error.take_message().map(Request::into_body);
            (UpstreamError::Http2(error.into_error()), unsent)
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Usage { streams, since } = &*self.0.usage;
        streams.set(streams.get().saturating_sub(1));
        if streams.get() == 0 {
            since.set(Instant::now());
        }
    }
}

fn request(head: &Head, scheme: &'static str, body: RequestBody) -> Request<RequestBody> {
    let Head {
        method,
        path_and_query,
        headers,
    } = head.clone();
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(header::HOST);
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(path_and_query);
    uri.authority = host.and_then(|host| host.as_bytes().try_into().ok());
    uri.scheme = scheme.parse().ok().filter(|_| uri.authority.is_some());
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    request
}

/// Runs a connection to its end; an unused one makes room for those that wait where they are bounded.
async fn run<F: Future<Output = hyper::Result<()>>>(
    opened: Option<Opened>,
    connection: F,
    is_unused: impl Fn() -> bool,
) -> hyper::Result<()> {
    match &opened {
        None => connection.await,
        Some(opened) => {
            let ended = opened.gate().run(connection, is_unused).await;
            ended.unwrap_or(Ok(()))
        }
    }
}

async fn note_end(place: Place, running: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = running.await {
        tracing::debug!(address = %place.0, %error, "a connection to an endpoint ended early");
    }
}

fn busy_least(connections: &[Multiplexed]) -> Option<&Multiplexed> {
    connections.iter().min_by_key(|c| c.usage.streams.get())
}

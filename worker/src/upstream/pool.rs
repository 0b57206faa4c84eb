//! Connections to endpoints, kept per thread: hyper's connections themselves, no client on top.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_ir::BackendProtocol;

use super::balance::{Ticket, Transport};
use super::dial::dial;
use super::gate::{Gate, Opened};
use super::metered::{Meter, Metered};
use crate::error::ProxyError;
use crate::http::body::RequestBody;
use crate::limits::Limits;
use crate::thread::LocalExecutor;

/// Connections of one HTTP/2 endpoint and thread; further requests queue on them.
const H2_CONNECTIONS_MAX: usize = 8;

/// Streams of one HTTP/2 connection before another is opened: what servers usually allow at once.
const H2_STREAMS_MAX: usize = 100;

/// Credit for all streams of an HTTP/2 connection together, in bytes: large, so that slow readers do
/// not starve others.
const H2_CONNECTION_WINDOW: u32 = 16 << 20;

/// Credit for one HTTP/2 stream, in bytes.
const H2_STREAM_WINDOW: u32 = 1 << 20;

/// Bytes that are read at a time at most, by hyper: what comes with an answer's head.
const READ_BYTES_MAX: u64 = 512 << 10;

/// An endpoint and the TLS that is spoken to it: the id of a [`TlsClient`], 0 for plain text.
type Place = (SocketAddr, u64);

/// The connections of one thread, by endpoint; it outlives snapshots.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: Arc<Limits>,
    h1: RefCell<HashMap<Place, VecDeque<Idle>>>,
    h2: RefCell<HashMap<Place, Vec<Multiplexed>>>,
}

#[derive(Debug)]
struct Idle {
    connection: Exclusive,
    since: Instant,
}

/// A connection that serves one exchange at a time.
#[derive(Debug)]
struct Exclusive {
    sender: http1::SendRequest<RequestBody>,
    /// Whether it lies in the pool.
    unused: Rc<Cell<bool>>,
    meter: Meter,
    head_bytes_max: u64,
}

#[derive(Debug, Clone)]
struct Multiplexed {
    sender: http2::SendRequest<RequestBody>,
    usage: Rc<Usage>,
}

/// How an HTTP/2 connection is used.
#[derive(Debug)]
struct Usage {
    streams: Cell<usize>,
    /// When the last stream ended.
    since: Cell<Instant>,
}

/// The use of a connection by one exchange.
#[derive(Debug)]
pub(crate) struct Lease {
    kind: Kind,
    /// Ends when the exchange does.
    ticket: Option<Ticket>,
}

#[derive(Debug)]
enum Kind {
    H1 {
        connection: Exclusive,
        place: Place,
        pool: Weak<Pool>,
        gate: Option<Arc<Gate>>,
        reused: bool,
    },
    H2(Stream),
}

/// One exchange on a shared connection.
#[derive(Debug)]
struct Stream(Multiplexed);

/// What came of sending a request.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The response's head.
    Answered(Response<Incoming>),
    /// Nothing was received; the request comes back where nothing of it was sent.
    Failed(hyper::Error, Option<Box<Request<RequestBody>>>),
}

impl Pool {
    pub(crate) fn new(limits: Arc<Limits>) -> Rc<Self> {
        Rc::new(Self {
            limits,
            h1: RefCell::default(),
            h2: RefCell::default(),
        })
    }

    /// A connection to the endpoint: an unused one where there is one (unless `fresh`), else a new one.
    ///
    /// # Errors
    /// When the endpoint does not accept one in time, or the backend has as many as it may.
    pub(crate) async fn connect(
        self: &Rc<Self>,
        address: SocketAddr,
        protocol: BackendProtocol,
        transport: Transport<'_>,
        fresh: bool,
    ) -> Result<Lease, ProxyError> {
        let place = (address, transport.tls.map_or(0, |tls| tls.id()));
        let kind = match protocol {
            BackendProtocol::Http1 => self.lease_h1(place, transport, fresh).await?,
            BackendProtocol::Http2 => {
                let connection = self.lease_h2(place, transport, fresh).await?;
                let streams = &connection.usage.streams;
                streams.set(streams.get() + 1);
                Kind::H2(Stream(connection))
            }
            BackendProtocol::Tcp | BackendProtocol::Udp => {
                let reason = "the backend does not speak HTTP".into();
                return Err(ProxyError::Fault(reason));
            }
        };
        Ok(Lease { kind, ticket: None })
    }

    async fn lease_h1(
        self: &Rc<Self>,
        place: Place,
        transport: Transport<'_>,
        fresh: bool,
    ) -> Result<Kind, ProxyError> {
        let gate = transport.gate;
        let (connection, reused) = loop {
            if !fresh && let Some(unused) = self.take_unused(place) {
                break (unused, true);
            }
            match gate.map(Gate::open) {
                None => break (Box::pin(self.open_h1(place, transport, None)).await?, false),
                Some(Some(opened)) => {
                    break (
                        Box::pin(self.open_h1(place, transport, Some(opened))).await?,
                        false,
                    );
                }
                Some(None) => Box::pin(self.wait(gate)).await?,
            }
        };
        Ok(Kind::H1 {
            connection,
            place,
            pool: Rc::downgrade(self),
            gate: gate.cloned(),
            reused,
        })
    }

    async fn lease_h2(
        &self,
        place: Place,
        transport: Transport<'_>,
        fresh: bool,
    ) -> Result<Multiplexed, ProxyError> {
        loop {
            if !fresh && let Some(shared) = self.share(place) {
                return Ok(shared);
            }
            match transport.gate.map(Gate::open) {
                None => return Box::pin(self.open_h2(place, transport, None)).await,
                Some(Some(opened)) => {
                    return Box::pin(self.open_h2(place, transport, Some(opened))).await;
                }
                Some(None) => match self.least_busy(place) {
                    Some(shared) => return Ok(shared),
                    None => Box::pin(self.wait(transport.gate)).await?,
                },
            }
        }
    }

    async fn wait(&self, gate: Option<&Arc<Gate>>) -> Result<(), ProxyError> {
        match gate {
            Some(gate) => gate.wait(self.limits.connect_timeout).await,
            None => Ok(()),
        }
    }

    /// Closes what has been unused for too long; call it now and then.
    pub(crate) fn sweep(&self) {
        let oldest = self.limits.upstream_idle_timeout;
        self.h1.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| {
                idle.since.elapsed() < oldest && !idle.connection.sender.is_closed()
            });
            !idle.is_empty()
        });
        self.h2.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| {
                let usage = &connection.usage;
                let is_used = usage.streams.get() > 0 || usage.since.get().elapsed() < oldest;
                is_used && !connection.sender.is_closed()
            });
            !connections.is_empty()
        });
    }

    /// The connection that was used last, so that the others age.
    fn take_unused(&self, place: Place) -> Option<Exclusive> {
        let mut pool = self.h1.borrow_mut();
        let idle = pool.get_mut(&place)?;
        idle.retain(|idle| !idle.connection.sender.is_closed());
        let ready = idle
            .iter()
            .rposition(|idle| idle.connection.sender.is_ready())?;
        let idle = idle.remove(ready).expect("the position was just found");
        idle.connection.unused.set(false);
        (idle.since.elapsed() < self.limits.upstream_idle_timeout).then_some(idle.connection)
    }

    fn put_unused(&self, place: Place, connection: Exclusive) {
        if connection.sender.is_closed() {
            return;
        }
        let mut pool = self.h1.borrow_mut();
        let idle = pool.entry(place).or_default();
        if idle.len() >= self.limits.upstream_idle_max {
            idle.pop_front();
        }
        connection.unused.set(true);
        idle.push_back(Idle {
            connection,
            since: Instant::now(),
        });
    }

    fn share(&self, place: Place) -> Option<Multiplexed> {
        let mut pool = self.h2.borrow_mut();
        let connections = pool.get_mut(&place)?;
        connections.retain(|connection| !connection.sender.is_closed());
        let has_room = |c: &&Multiplexed| c.usage.streams.get() < H2_STREAMS_MAX;
        let found = connections.iter().find(has_room);
        match connections.len() {
            H2_CONNECTIONS_MAX.. => found.or_else(|| busy_least(connections)).cloned(),
            _ => found.cloned(),
        }
    }

    /// Any connection, for want of a better one.
    fn least_busy(&self, place: Place) -> Option<Multiplexed> {
        let mut pool = self.h2.borrow_mut();
        let connections = pool.get_mut(&place)?;
        connections.retain(|connection| !connection.sender.is_closed());
        busy_least(connections).cloned()
    }

    async fn open_h1(
        &self,
        place: Place,
        transport: Transport<'_>,
        opened: Option<Opened>,
    ) -> Result<Exclusive, ProxyError> {
        let stream = dial(place.0, b"", transport.tls, self.limits.connect_timeout).await?;
        let meter = Meter::new();
        let (sender, connection) = http1::Builder::new()
            .max_header_size(self.limits.header_bytes_max)
            .handshake(TokioIo::new(Metered::new(stream, meter.clone())))
            .await
            .map_err(|_| ProxyError::ConnectFailed)?;
        let unused = Rc::new(Cell::new(false));
        let is_unused = unused.clone();
        let running = run(opened, connection.with_upgrades(), move || is_unused.get());
        tokio::task::spawn_local(note_end(place, running));
        let head_bytes_max = self.limits.header_bytes_max as u64 + READ_BYTES_MAX;
        Ok(Exclusive {
            sender,
            unused,
            meter,
            head_bytes_max,
        })
    }

    async fn open_h2(
        &self,
        place: Place,
        transport: Transport<'_>,
        opened: Option<Opened>,
    ) -> Result<Multiplexed, ProxyError> {
        let stream = dial(place.0, b"", transport.tls, self.limits.connect_timeout).await?;
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(self.limits.header_bytes_max).unwrap_or(u32::MAX))
            .max_send_buf_size(128 << 10)
            .handshake(TokioIo::new(stream))
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
        let mut pool = self.h2.borrow_mut();
        let connections = pool.entry(place).or_default();
        // Requests that dialled at the same time: the surplus connection ends with its streams.
        if connections.len() < H2_CONNECTIONS_MAX {
            connections.push(connection.clone());
        }
        Ok(connection)
    }
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

impl Lease {
    /// Whether the connection has served another exchange before, so that it may have been closed since.
    pub(crate) fn is_reused(&self) -> bool {
        match &self.kind {
            Kind::H1 { reused, .. } => *reused,
            Kind::H2(_) => true,
        }
    }

    /// Sends a request and waits for the response's head.
    pub(crate) async fn send(&mut self, request: Request<RequestBody>) -> Sent {
        let sent = match &mut self.kind {
            Kind::H1 { connection, .. } => {
                connection.meter.bound(connection.head_bytes_max);
                let sent = connection.sender.try_send_request(request).await;
                connection.meter.lift();
                sent
            }
            Kind::H2(stream) => stream.0.sender.try_send_request(request).await,
        };
        match sent {
            Ok(response) => Sent::Answered(response),
            Err(mut error) => {
                let unsent = error.take_message().map(Box::new);
                Sent::Failed(error.into_error(), unsent)
            }
        }
    }

    /// Keeps a ticket until the exchange ends.
    pub(crate) fn hold(&mut self, ticket: Option<Ticket>) {
        self.ticket = ticket;
    }

    /// The exchange is complete: the connection may serve another one, unless others wait for room.
    pub(crate) fn give_back(self) {
        if let Kind::H1 {
            connection,
            place,
            pool,
            gate,
            ..
        } = self.kind
            && !gate.is_some_and(|gate| gate.is_waited_for())
            && let Some(pool) = pool.upgrade()
        {
            pool.put_unused(place, connection);
        }
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

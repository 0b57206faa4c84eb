//! Connections to endpoints, kept per thread: hyper's connections themselves, no client on top.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_ir::BackendProtocol;
use tokio::net::TcpStream;

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

/// The connections of one thread, by endpoint; it outlives snapshots.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: Arc<Limits>,
    h1: RefCell<HashMap<SocketAddr, VecDeque<Idle>>>,
    h2: RefCell<HashMap<SocketAddr, Vec<Multiplexed>>>,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
}

#[derive(Debug, Clone)]
struct Multiplexed {
    sender: http2::SendRequest<RequestBody>,
    streams: Rc<Cell<usize>>,
}

/// The use of a connection by one exchange.
#[derive(Debug)]
pub(crate) struct Lease(Kind);

#[derive(Debug)]
enum Kind {
    H1 {
        sender: http1::SendRequest<RequestBody>,
        address: SocketAddr,
        pool: Weak<Pool>,
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
    /// When the endpoint does not accept one in time.
    pub(crate) async fn connect(
        self: &Rc<Self>,
        address: SocketAddr,
        protocol: BackendProtocol,
        fresh: bool,
    ) -> Result<Lease, ProxyError> {
        match protocol {
            BackendProtocol::Http1 => {
                let unused = if fresh {
                    None
                } else {
                    self.take_unused(address)
                };
                let reused = unused.is_some();
                let sender = match unused {
                    Some(sender) => sender,
                    None => self.open_h1(address).await?,
                };
                Ok(Lease(Kind::H1 {
                    sender,
                    address,
                    pool: Rc::downgrade(self),
                    reused,
                }))
            }
            BackendProtocol::Http2 => {
                let shared = if fresh { None } else { self.share(address) };
                let connection = match shared {
                    Some(connection) => connection,
                    None => self.open_h2(address).await?,
                };
                connection.streams.set(connection.streams.get() + 1);
                Ok(Lease(Kind::H2(Stream(connection))))
            }
        }
    }

    /// Closes what has been unused for too long; call it now and then.
    pub(crate) fn sweep(&self) {
        let oldest = self.limits.upstream_idle_timeout;
        self.h1.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| idle.since.elapsed() < oldest && !idle.sender.is_closed());
            !idle.is_empty()
        });
        self.h2.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| !connection.sender.is_closed());
            !connections.is_empty()
        });
    }

    /// The connection that was used last, so that the others age.
    fn take_unused(&self, address: SocketAddr) -> Option<http1::SendRequest<RequestBody>> {
        let mut pool = self.h1.borrow_mut();
        let idle = pool.get_mut(&address)?;
        idle.retain(|idle| !idle.sender.is_closed());
        let ready = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        let idle = idle.remove(ready).expect("the position was just found");
        (idle.since.elapsed() < self.limits.upstream_idle_timeout).then_some(idle.sender)
    }

    fn put_unused(&self, address: SocketAddr, sender: http1::SendRequest<RequestBody>) {
        if sender.is_closed() {
            return;
        }
        let mut pool = self.h1.borrow_mut();
        let idle = pool.entry(address).or_default();
        if idle.len() >= self.limits.upstream_idle_max {
            idle.pop_front();
        }
        idle.push_back(Idle {
            sender,
            since: Instant::now(),
        });
    }

    fn share(&self, address: SocketAddr) -> Option<Multiplexed> {
        let mut pool = self.h2.borrow_mut();
        let connections = pool.get_mut(&address)?;
        connections.retain(|connection| !connection.sender.is_closed());
        let has_room = |c: &&Multiplexed| c.streams.get() < H2_STREAMS_MAX;
        let full = connections.len() >= H2_CONNECTIONS_MAX;
        let found = connections.iter().find(has_room);
        let fallback = || {
            connections
                .iter()
                .min_by_key(|c| c.streams.get())
                .filter(|_| full)
        };
        found.or_else(fallback).cloned()
    }

    async fn open_h1(
        &self,
        address: SocketAddr,
    ) -> Result<http1::SendRequest<RequestBody>, ProxyError> {
        let stream = dial(address, self.limits.connect_timeout).await?;
        let (sender, connection) = http1::Builder::new()
            .max_header_size(self.limits.header_bytes_max)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| ProxyError::ConnectFailed)?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%address, %error, "a connection to an endpoint ended early");
            }
        });
        Ok(sender)
    }

    async fn open_h2(&self, address: SocketAddr) -> Result<Multiplexed, ProxyError> {
        let stream = dial(address, self.limits.connect_timeout).await?;
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(self.limits.header_bytes_max).unwrap_or(u32::MAX))
            .max_send_buf_size(128 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| ProxyError::ConnectFailed)?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "a connection to an endpoint ended early");
            }
        });
        let connection = Multiplexed {
            sender,
            streams: Rc::default(),
        };
        let mut pool = self.h2.borrow_mut();
        let connections = pool.entry(address).or_default();
        // Requests that dialled at the same time: the surplus connection ends with its streams.
        if connections.len() < H2_CONNECTIONS_MAX {
            connections.push(connection.clone());
        }
        Ok(connection)
    }
}

impl Lease {
    /// Whether the connection has served another exchange before, so that it may have been closed since.
    pub(crate) fn is_reused(&self) -> bool {
        match &self.0 {
            Kind::H1 { reused, .. } => *reused,
            Kind::H2(_) => true,
        }
    }

    /// Sends a request and waits for the response's head.
    pub(crate) async fn send(&mut self, request: Request<RequestBody>) -> Sent {
        let sent = match &mut self.0 {
            Kind::H1 { sender, .. } => sender.try_send_request(request).await,
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

    /// The exchange is complete: the connection may serve another one.
    pub(crate) fn give_back(self) {
        if let Kind::H1 {
            sender,
            address,
            pool,
            ..
        } = self.0
            && let Some(pool) = pool.upgrade()
        {
            pool.put_unused(address, sender);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
    }
}

async fn dial(address: SocketAddr, timeout: Duration) -> Result<TcpStream, ProxyError> {
    match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // A socket that refuses this still works, only slower.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "an endpoint did not accept a connection");
            Err(ProxyError::ConnectFailed)
        }
        Err(_) => Err(ProxyError::ConnectTimeout),
    }
}

//! Connections of layer 4 from their first byte to their last.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tidegate_codec::proxy_protocol;
use tidegate_ir::ProxyVersion;
use tidegate_router::{L4Listener, L4Target};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_util::either::Either;

use crate::error::ProxyError;
use crate::l4::connect::{choose, connect};
use crate::l4::flow::{Flow, Protocol};
use crate::l4::relay::{self, Io, Patience, Relay};
use crate::listen::ended::Ended;
use crate::thread::{Thread, ThreadServing};
use crate::upstream::Upstream;

/// Probes without an answer after which a connection is dead.
const PROBES: u32 = 3;

/// A client's connection, with the configuration of its arrival.
pub(crate) struct Arrival {
    pub(crate) thread: Rc<Thread>,
    pub(crate) serving: Rc<ThreadServing>,
    pub(crate) stream: TcpStream,
    pub(crate) client: SocketAddr,
    /// What the client connected to, where somebody in front has told.
    pub(crate) destination: Option<SocketAddr>,
}

impl Arrival {
    /// A connection to a TCP listener.
    pub(crate) async fn tcp(self, listener: Arc<L4Listener>) {
        let mut flow = self.flow(Protocol::Tcp);
        match listener.target("") {
            Some(target) => self.place(flow, &listener, target).await,
            None => {
                flow.record.listener = Some(listener);
                refuse(flow, &ProxyError::NoRoute, Either::Left(self.stream));
            }
        }
    }

    /// A connection whose TLS ends at the backend.
    pub(crate) async fn passthrough(
        self,
        server_name: Option<Box<str>>,
        listener: Arc<L4Listener>,
        target: Arc<L4Target>,
    ) {
        let mut flow = self.flow(Protocol::Tls);
        flow.record.server_name = server_name;
        self.place(flow, &listener, &target).await;
    }

    /// Passes the bytes on as they come, to a backend of the route.
    async fn place(self, mut flow: Flow, listener: &Arc<L4Listener>, target: &Arc<L4Target>) {
        let client = Either::Left(self.stream);
        let upstream = match choose(&self.serving.serving, listener, target, &mut flow) {
            Ok(upstream) => upstream.clone(),
            Err(error) => return refuse(flow, &error, client),
        };
        drop(self.serving);
        forward(flow, upstream, client).await;
    }

    /// A connection whose TLS ends here, before `deadline`; without a backend there is no handshake.
    pub(crate) async fn terminate(
        self,
        server_name: Option<Box<str>>,
        listener: Arc<L4Listener>,
        target: Arc<L4Target>,
        config: Arc<ServerConfig>,
        deadline: Instant,
    ) {
        let mut flow = self.flow(Protocol::Tls);
        flow.record.server_name = server_name;
        let upstream = match choose(&self.serving.serving, &listener, &target, &mut flow) {
            Ok(upstream) => upstream.clone(),
            Err(error) => return refuse(flow, &error, Either::Left(self.stream)),
        };
        drop(self.serving);
        let accepting = TlsAcceptor::from(config).accept(self.stream);
        let ended = match tokio::time::timeout_at(deadline.into(), accepting).await {
            Ok(Ok(stream)) => {
                let stream = Box::new(TlsStream::Server(stream));
                return forward(flow, upstream, Either::Right(stream)).await;
            }
            Ok(Err(error)) => {
                tracing::debug!(client = %self.client, %error, "a TLS handshake failed");
                Ended::of_handshake(&error)
            }
            Err(_) => Ended::TlsTimeout,
        };
        self.thread.metrics.connection_ended(ended);
        flow.record.reason = Some(ended.reason());
    }

    /// A TLS connection that nobody serves: it is closed without a word of TLS.
    pub(crate) fn refuse(
        self,
        server_name: Option<Box<str>>,
        listener: Option<Arc<L4Listener>>,
        error: &ProxyError,
    ) {
        let mut flow = self.flow(Protocol::Tls);
        flow.record.server_name = server_name;
        flow.record.listener = listener;
        refuse(flow, error, Either::Left(self.stream));
    }

    fn flow(&self, protocol: Protocol) -> Flow {
        let version = self.serving.serving.snapshot.version;
        let mut flow = Flow::start(&self.thread, protocol, self.client, version);
        flow.destination = self.destination;
        flow
    }
}

/// Connects to the backend at once, for it may be the one that speaks first, and passes bytes on.
async fn forward(mut flow: Flow, upstream: Arc<Upstream>, client: Io) {
    flow.routed();
    let thread = flow.thread().clone();
    let header = proxy_header(&upstream, &flow, relay::socket(&client));
    let connected = Box::pin(connect(&upstream, &header, &thread.limits, &mut flow)).await;
    let (backend, place) = match connected {
        Ok(direct) => (direct.io, direct.place),
        Err(error) => return refuse(flow, &error, client),
    };
    drop(upstream);
    let backend = match backend {
        Either::Left(stream) => Either::Left(stream),
        Either::Right(stream) => Either::Right(Box::new(TlsStream::Client(*stream))),
    };
    for side in [&client, &backend] {
        keep_alive(relay::socket(side), thread.limits.tcp_keepalive);
    }
    let patience = Patience {
        idle: thread.limits.tcp_idle_timeout,
        half_closed: thread.limits.tcp_half_closed_timeout,
    };
    let relay = Relay::new(client, backend, patience, thread.relays.clone());
    let end = relay.run(|passed| flow.passed(passed)).await;
    flow.ended(end);
    drop(place);
}

/// What tells the backend whose connection it gets; empty where it is not to be told.
fn proxy_header(upstream: &Upstream, flow: &Flow, client: &TcpStream) -> Vec<u8> {
    let version = match upstream.backend.proxy_protocol {
        None => return Vec::new(),
        Some(ProxyVersion::V1) => proxy_protocol::Version::V1,
        Some(ProxyVersion::V2) => proxy_protocol::Version::V2,
    };
    let destination = flow.destination.or_else(|| client.local_addr().ok());
    // A socket without an address is one without a peer, too: the backend is told what is known.
    let destination = destination.unwrap_or(flow.record.client);
    proxy_protocol::header(version, flow.record.client, destination)
}

/// Ends a connection that cannot be served by a reset, so that its client does not take it for an answer.
fn refuse(mut flow: Flow, error: &ProxyError, client: Io) {
    flow.record.reason = Some(error.reason());
    tracing::debug!(client = %flow.record.client, %error, "a connection of layer 4 is refused");
    relay::reset(&client);
}

/// Lets the kernel find out that a silent peer is gone.
fn keep_alive(socket: &TcpStream, silence: Option<Duration>) {
    let Some(silence) = silence else { return };
    let terms = TcpKeepalive::new()
        .with_time(silence)
        .with_interval(silence / PROBES)
        .with_retries(PROBES);
    // Without it the idle timeout ends the connection.
    let _ = SockRef::from(socket).set_tcp_keepalive(&terms);
}

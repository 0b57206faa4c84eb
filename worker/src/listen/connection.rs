//! Accepting connections on a thread's socket, and serving each until it ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::http::client_body::ClientBody;
use crate::http::stack::{Connection, answer};
use crate::http1::{self, Io};
use crate::thread::{LocalExecutor, Open, Thread};

/// How an HTTP/2 client starts (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A port on one thread.
struct Port {
    thread: Rc<Thread>,
    bind_port: u16,
    stop: CancellationToken,
    open_connections: Arc<AtomicI64>,
}

/// What a connection holds while it is open.
struct Held {
    open_connections: Arc<AtomicI64>,
    _permit: OwnedSemaphorePermit,
    _open: Open,
}

/// Accepts connections until `stop`; those that the kernel has accepted by then are served too.
pub(crate) async fn accept(
    thread: Rc<Thread>,
    bind_port: u16,
    listener: std::net::TcpListener,
    stop: CancellationToken,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(bind_port, %error, "a bound port cannot be used");
            return;
        }
    };
    let permits = Arc::new(Semaphore::new(thread.limits.connections_max));
    let open_connections = thread.metrics.connections(bind_port);
    let port = Rc::new(Port {
        thread,
        bind_port,
        stop: stop.clone(),
        open_connections,
    });
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        if let Err(error) = port.start(accepted, permit) {
            tracing::warn!(bind_port, %error, "accepting a connection failed");
            // Out of descriptors, most likely: trying again at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // Closing the socket would reset the connections that the kernel has accepted already.
    while let Ok(permit) = permits.clone().try_acquire_owned()
        && let Some(accepted) = listener.accept().now_or_never()
        && port.start(accepted, permit).is_ok()
    {}
}

impl Held {
    fn new(port: &Port, permit: OwnedSemaphorePermit) -> Self {
        port.open_connections.fetch_add(1, Ordering::Relaxed);
        Self {
            open_connections: port.open_connections.clone(),
            _permit: permit,
            _open: port.thread.open(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(port: Rc<Port>, stream: TcpStream, client: SocketAddr, _held: Held) {
    // A socket that refuses this still works, only slower.
    let _ = stream.set_nodelay(true);
    let tls = port.thread.serving().serving.tls(port.bind_port).cloned();
    match tls {
        Some(config) => Box::pin(serve_tls(&port, stream, client, config)).await,
        None => serve_plain(&port, stream, client).await,
    }
}

async fn serve_plain(port: &Rc<Port>, stream: TcpStream, client: SocketAddr) {
    let limits = &port.thread.limits;
    let Ok(Ok(h2)) = timeout(limits.header_timeout, starts_with_preface(&stream)).await else {
        return;
    };
    let connection = port.connection(client, false, None);
    if h2 {
        Box::pin(serve_h2(port, &connection, stream)).await;
    } else {
        serve_h1(port, connection, Io::Left(stream)).await;
    }
}

async fn serve_tls(
    port: &Rc<Port>,
    stream: TcpStream,
    client: SocketAddr,
    config: Arc<ServerConfig>,
) {
    let handshake = TlsAcceptor::from(config).accept(stream);
    let stream = match timeout(port.thread.limits.handshake_timeout, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%client, %error, "a TLS handshake failed");
            port.thread.metrics.handshake_failed();
            return;
        }
        Err(_) => return port.thread.metrics.handshake_failed(),
    };
    let (_, session) = stream.get_ref();
    let h2 = session.alpn_protocol() == Some(b"h2");
    let name = session.server_name().map(str::to_ascii_lowercase);
    let connection = port.connection(client, true, name);
    if h2 {
        serve_h2(port, &connection, stream).await;
    } else {
        serve_h1(port, connection, Io::Right(Box::new(stream))).await;
    }
}

impl Port {
    fn start(
        self: &Rc<Self>,
        accepted: std::io::Result<(TcpStream, SocketAddr)>,
        permit: OwnedSemaphorePermit,
    ) -> std::io::Result<()> {
        let (stream, client) = accepted?;
        let held = Held::new(self, permit);
        tokio::task::spawn_local(serve(self.clone(), stream, client, held));
        Ok(())
    }

    fn connection(
        &self,
        client: SocketAddr,
        tls: bool,
        server_name: Option<String>,
    ) -> Rc<Connection> {
        let stop = self.thread.shut_down.clone();
        Connection::new(client, self.bind_port, tls, server_name, stop)
    }
}

/// Whether the client speaks HTTP/2 from the first byte; nothing is consumed.
async fn starts_with_preface(stream: &TcpStream) -> std::io::Result<bool> {
    let mut start = [0; PREFACE.len()];
    loop {
        let len = stream.peek(&mut start).await?;
        if len == PREFACE.len() || start[..len] != PREFACE[..len] || len == 0 {
            return Ok(start == *PREFACE);
        }
        // The rest of the preface is on its way; a peek is always ready, so it must not spin.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// HTTP/1.1 or HTTP/1.0.
async fn serve_h1(port: &Rc<Port>, connection: Rc<Connection>, io: Io) {
    http1::serve(port.thread.clone(), connection, io, port.stop.clone()).await;
}

async fn serve_h2<I>(port: &Rc<Port>, connection: &Rc<Connection>, io: I)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = &port.thread.limits;
    let (thread, of_request) = (port.thread.clone(), connection.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let request = request.map(|body| ClientBody::of_http2(body, &thread.limits));
        answer(thread.clone(), of_request.clone(), request).map(Ok::<_, Infallible>)
    });
    let serving = hyper::server::conn::http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams_max)
        .max_pending_accept_reset_streams(limits.h2_resets_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .max_send_buf_size(128 << 10)
        .serve_connection(TokioIo::new(io), service);
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        biased;
        ended = &mut serving => ended,
        () = unused_too_long(port, connection) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = port.stop.cancelled() => {
            connection.closing.set(true);
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    log_end(connection, ended);
}

/// Waits until a connection has had no request for too long: the first one has less time.
async fn unused_too_long(port: &Port, connection: &Connection) {
    let limits = &port.thread.limits;
    loop {
        let bound = if connection.has_served() {
            limits.idle_timeout
        } else {
            limits.header_timeout
        };
        let now = Instant::now();
        let end = connection.unused_since().map_or(now, |since| since) + bound;
        if end <= now {
            return;
        }
        tokio::time::sleep_until(end.into()).await;
    }
}

fn log_end(connection: &Connection, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(client = %connection.client, %error, "a connection ended early");
    }
}

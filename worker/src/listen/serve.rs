//! From an accepted connection to its protocol: PROXY header, TLS, HTTP/1 or HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tidegate_codec::proxy_protocol::{self, Origin, Parsed};
use tidegate_router::SniDecision;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::ended::Ended;
use super::hello;
use super::open::OfClient;
use super::tls::Inside;
use super::unsent::Unsent;
use crate::error::ProxyError;
use crate::http::stack::Connection;
use crate::http1::{self, Io};
use crate::http2;
use crate::l4::Arrival;
use crate::terms::Terms;
use crate::thread::Thread;

/// How an HTTP/2 client starts (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client gets that speaks plain text to a port for HTTPS.
const PLAIN_TEXT: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 55\r\nconnection: close\r\n\r\n\
    this port speaks HTTPS: write https:// before the host\n";

/// A port on one thread.
pub(super) struct Port {
    pub(super) thread: Rc<Thread>,
    pub(super) bind_port: u16,
    pub(super) stop: CancellationToken,
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    port: Rc<Port>,
    mut stream: TcpStream,
    peer: SocketAddr,
    terms: Arc<Terms>,
) {
    // A socket that refuses this still works, only slower.
    let _ = stream.set_nodelay(true);
    let (mut client, mut destination) = (peer, None);
    let mut _of_client = None;
    if terms.edge.proxy_protocol {
        let told = Box::pin(origin(&mut stream, terms.limits.header_timeout)).await;
        let admitted = told.ok_or(Ended::NoProxyHeader).and_then(|told| {
            if let Origin::Client {
                source,
                destination: told,
            } = told
            {
                (client, destination) = (source, Some(told));
            }
            port.enter_client(client, &terms)
        });
        match admitted {
            Ok(counted) => _of_client = counted,
            Err(ended) => return port.ended(client, ended),
        }
    }
    let configuration = port.thread.serving();
    let serving = &configuration.serving;
    let l4 = serving.table.l4();
    let bytes = l4.tcp(port.bind_port).cloned();
    if bytes.is_none() && l4.tls(port.bind_port).is_none() {
        let tls = serving.tls(port.bind_port, Inside::Http).cloned();
        drop(configuration);
        return match tls {
            Some(config) => Box::pin(serve_tls(&port, stream, client, terms, config)).await,
            None => serve_plain(&port, stream, client, terms).await,
        };
    }
    let arrival = Arrival {
        thread: port.thread.clone(),
        serving: configuration,
        stream,
        client,
        destination,
    };
    match bytes {
        Some(listener) => Box::pin(arrival.tcp(listener)).await,
        None => Box::pin(serve_named(&port, arrival, terms)).await,
    }
}

/// Serves a connection of a port where the server name in the ClientHello decides.
async fn serve_named(port: &Rc<Port>, arrival: Arrival, terms: Arc<Terms>) {
    let deadline = Instant::now() + terms.limits.handshake_timeout;
    let hello = match timeout_at(deadline.into(), hello::wait(&arrival.stream)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(reason)) => {
            tracing::debug!(client = %arrival.client, %reason, "no ClientHello was found");
            return port.ended(arrival.client, Ended::NoClientHello);
        }
        Err(_) => return port.ended(arrival.client, Ended::TlsTimeout),
    };
    let name = hello.server_name;
    let serving = arrival.serving.serving.clone();
    let names = serving.table.l4().tls(port.bind_port);
    let decision = names.map_or(SniDecision::NoListener, |n| n.decide(name.as_deref()));
    let tls = |inside| serving.tls(port.bind_port, inside).cloned();
    // Nothing of the configuration is held for as long as the connection lives.
    match decision {
        SniDecision::Https => {
            let config = tls(Inside::Http);
            drop((serving, arrival.serving));
            if let Some(config) = config {
                Box::pin(serve_tls(
                    port,
                    arrival.stream,
                    arrival.client,
                    terms,
                    config,
                ))
                .await;
            }
        }
        SniDecision::Terminate(listener, target) => {
            let (listener, target) = (listener.clone(), target.clone());
            let config = tls(Inside::Bytes);
            drop(serving);
            if let Some(config) = config {
                let ending = arrival.terminate(name, listener, target, config, deadline);
                Box::pin(ending).await;
            }
        }
        SniDecision::Passthrough(listener, target) => {
            let (listener, target) = (listener.clone(), target.clone());
            drop(serving);
            arrival.passthrough(name, listener, target).await;
        }
        SniDecision::NoRoute(listener) => {
            let listener = Some(listener.clone());
            arrival.refuse(name, listener, &ProxyError::NoRoute);
        }
        SniDecision::NoListener => arrival.refuse(name, None, &ProxyError::NoListener),
    }
}

/// Reads the PROXY header and not a byte more; `None` where there is none in time.
async fn origin(stream: &mut TcpStream, patience: Duration) -> Option<Origin> {
    let reading = async {
        let mut header = Vec::with_capacity(proxy_protocol::V1_BYTES_MAX);
        loop {
            match proxy_protocol::parse(&header).ok()? {
                Parsed::Whole(_, origin) => return Some(origin),
                Parsed::Partial(wanted) => {
                    let start = header.len();
                    header.resize(wanted, 0);
                    stream.read_exact(&mut header[start..]).await.ok()?;
                }
            }
        }
    };
    timeout(patience, reading).await.ok()?
}

async fn serve_plain(port: &Rc<Port>, stream: TcpStream, client: SocketAddr, terms: Arc<Terms>) {
    Unsent::Few.apply(&stream);
    let patience = terms.limits.header_timeout;
    let h2 = match timeout(patience, starts_with_preface(&stream)).await {
        Ok(Ok(h2)) => h2,
        // The client is gone.
        Ok(Err(_)) => return,
        Err(_) => return port.ended(client, Ended::NoRequest),
    };
    let connection = port.connection(client, false, None);
    if h2 {
        Unsent::Many.apply(&stream);
        let thread = &port.thread;
        Box::pin(http2::serve(thread, &connection, stream, terms, &port.stop)).await;
    } else {
        port.serve_h1(connection, Io::Left(stream), terms).await;
    }
}

async fn serve_tls(
    port: &Rc<Port>,
    stream: TcpStream,
    client: SocketAddr,
    terms: Arc<Terms>,
    config: Arc<ServerConfig>,
) {
    Unsent::Few.apply(&stream);
    let handshake = async {
        // A handshake begins with the byte 22; what begins with a method is for another port.
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
            return Ok(Either::Left(stream));
        }
        TlsAcceptor::from(config)
            .accept(stream)
            .await
            .map(Either::Right)
    };
    let stream = match timeout(terms.limits.handshake_timeout, handshake).await {
        Ok(Ok(Either::Right(stream))) => stream,
        Ok(Ok(Either::Left(stream))) => {
            port.ended(client, Ended::PlainText);
            return refuse_plain_text(stream, terms.limits.handshake_timeout).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%client, %error, "a TLS handshake failed");
            return port.ended(client, Ended::of_handshake(&error));
        }
        Err(_) => return port.ended(client, Ended::TlsTimeout),
    };
    let (_, session) = stream.get_ref();
    let h2 = session.alpn_protocol() == Some(b"h2");
    let name = session.server_name().map(str::to_ascii_lowercase);
    let connection = port.connection(client, true, name);
    if h2 {
        Unsent::Many.apply(stream.get_ref().0);
        http2::serve(&port.thread, &connection, stream, terms, &port.stop).await;
    } else {
        let io = Io::Right(Box::new(stream));
        port.serve_h1(connection, io, terms).await;
    }
}

async fn refuse_plain_text(mut stream: TcpStream, patience: Duration) {
    // Whatever becomes of the answer, the connection is over.
    let _ = stream.write_all(PLAIN_TEXT).await;
    let _ = stream.shutdown().await;
    // What is left unread would reset the connection before the answer is read.
    let mut rest = [0; 1024];
    let _ = timeout(patience, stream.read(&mut rest)).await;
}

impl Port {
    /// A connection ended before its time.
    pub(super) fn ended(&self, client: SocketAddr, ended: Ended) {
        self.thread.connection_ended(self.bind_port, client, ended);
    }

    /// Counts a connection of a client, who may have too many.
    pub(super) fn enter_client(
        &self,
        client: SocketAddr,
        terms: &Terms,
    ) -> Result<Option<OfClient>, Ended> {
        let max = terms.limits.connections_per_client_max;
        let open = &self.thread.open_connections;
        open.enter_client(self.bind_port, client.ip(), max)
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

    /// HTTP/1.1 or HTTP/1.0.
    async fn serve_h1(&self, connection: Rc<Connection>, io: Io, terms: Arc<Terms>) {
        let (thread, stop) = (self.thread.clone(), self.stop.clone());
        http1::serve(thread, connection, io, terms, stop).await;
    }
}

/// Whether the client speaks HTTP/2 from the first byte; nothing is consumed.
async fn starts_with_preface(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; PREFACE.len()];
    loop {
        let len = stream.peek(&mut start).await?;
        if len == PREFACE.len() || start[..len] != PREFACE[..len] || len == 0 {
            return Ok(start == *PREFACE);
        }
        // The rest of the preface is on its way; a peek is always ready, so it must not spin.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

//! The servers behind the peers: as cheap as possible, each on a thread of its own of this process.

mod echo;
mod grpc;
mod http1;

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::certificates::Certificate;

/// Where the servers listen, all on the loopback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backends {
    /// HTTP/1.1: 1 MiB at `/1m`, 1 KiB elsewhere.
    pub(crate) http: SocketAddr,
    /// gRPC in plain text: each call is answered by its own message.
    pub(crate) grpc: SocketAddr,
    /// TCP: what comes goes back.
    pub(crate) tcp: SocketAddr,
    /// TCP: bytes without an end.
    pub(crate) source: SocketAddr,
    /// TLS: what comes goes back.
    pub(crate) tls: SocketAddr,
    /// UDP: what comes goes back.
    pub(crate) udp: SocketAddr,
}

impl Backends {
    /// Starts them on free ports; they live as long as the process.
    pub(crate) fn start(certificate: &Certificate) -> anyhow::Result<Self> {
        let server = certificate.server()?;
        Ok(Self {
            http: http1()?,
            grpc: on_thread("grpc", grpc::serve)?,
            tcp: on_thread("tcp", echo::tcp)?,
            source: on_thread("source", echo::source)?,
            tls: on_thread("tls", move |listener| echo::tls(listener, server))?,
            udp: echo::udp()?,
        })
    }
}

/// Starts the server of HTTP/1.1 alone.
pub(crate) fn http1() -> anyhow::Result<SocketAddr> {
    on_thread("http", http1::serve)
}

fn on_thread<F: Future<Output = std::io::Result<()>>>(
    name: &str,
    serve: impl FnOnce(TcpListener) -> F + Send + 'static,
) -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("backend")?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async { serve(TcpListener::from_std(listener)?).await })
        })?;
    Ok(address)
}

/// Answers each connection by a task of its own.
async fn serve_each<F, T>(
    listener: TcpListener,
    answer: impl Fn(TcpStream) -> F,
) -> std::io::Result<()>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        while connections.try_join_next().is_some() {}
        connections.spawn(answer(stream));
    }
}

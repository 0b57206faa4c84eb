//! TCP and TLS connections: round trips on kept ones, new ones for each round trip, bytes without an end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::Done;
use crate::certificates::HOST;

/// Bytes of one message of a round trip.
const MESSAGE: usize = 1 << 10;

/// What a client of HTTPS asks for on each new connection.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: www.bench.test\r\nconnection: close\r\n\r\n";

/// Where to, over what, and how.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// `None` for plain TCP.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// 1 KiB there and back, again and again.
    RoundTrips,
    /// One round trip on each connection.
    NewConnections,
    /// One HTTP request on each connection.
    NewRequests,
    /// Reading as fast as bytes come.
    Download,
}

/// Keeps so many connections busy for so long.
pub(crate) async fn run(
    target: &Target,
    how: Use,
    connections: u32,
    seconds: u32,
) -> anyhow::Result<Done> {
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(keep_busy(target.clone(), how, end));
    }
    let mut all = Done::default();
    while let Some(done) = tasks.join_next().await {
        let done = done??;
        all.count += done.count;
        all.bytes += done.bytes;
    }
    Ok(all)
}

async fn keep_busy(target: Target, how: Use, end: Instant) -> anyhow::Result<Done> {
    let mut done = Done::default();
    while Instant::now() < end {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        match &target.tls {
            None => use_once(stream, how, end, &mut done).await?,
            Some(config) => {
                let name = ServerName::try_from(HOST)?;
                let stream = TlsConnector::from(config.clone()).connect(name, stream);
                use_once(stream.await?, how, end, &mut done).await?;
            }
        }
    }
    Ok(done)
}

/// Uses one connection to its end, or to the end of the measurement.
async fn use_once(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    how: Use,
    end: Instant,
    done: &mut Done,
) -> anyhow::Result<()> {
    match how {
        Use::RoundTrips => {
            while Instant::now() < end {
                round_trip(&mut stream).await?;
                done.count += 1;
            }
        }
        Use::NewConnections => {
            round_trip(&mut stream).await?;
            done.count += 1;
        }
        Use::NewRequests => {
            stream.write_all(REQUEST).await?;
            let mut answer = Vec::with_capacity(2 << 10);
            stream.read_to_end(&mut answer).await?;
            anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200"), "no 200");
            done.count += 1;
        }
        Use::Download => {
            let mut buffer = vec![0; 256 << 10];
            while Instant::now() < end {
                let len = stream.read(&mut buffer).await?;
                anyhow::ensure!(len > 0, "the download ended");
                done.bytes += len as u64;
            }
        }
    }
    Ok(())
}

async fn round_trip(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut message = [b'x'; MESSAGE];
    stream.write_all(&message).await?;
    stream.flush().await?;
    stream.read_exact(&mut message).await?;
    Ok(())
}

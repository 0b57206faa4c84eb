//! A plain HTTP/1.1 client, enough to ask for a status.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The status of `GET path` for `host`, on a new connection.
pub(crate) async fn status(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 << 10).read_to_end(&mut answer).await?;
    let line = answer.get(9..12).context("no status line")?;
    Ok(std::str::from_utf8(line)?.parse()?)
}

/// Asks until the answer is 200 and returns how long that took.
pub(crate) async fn until_ok(
    address: SocketAddr,
    host: &str,
    limit: Duration,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    loop {
        if matches!(status(address, host, "/").await, Ok(200)) {
            return Ok(started.elapsed());
        }
        if started.elapsed() > limit {
            bail!("{host} is not served at {address} after {limit:?}");
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

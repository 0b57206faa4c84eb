//! A backend that costs as little as possible: 1 KiB for every request, on a thread of its own.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a request head, at most.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Starts the backend on a free port; it lives as long as the process.
pub(crate) fn start() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("backend")?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    std::thread::Builder::new()
        .name("backend".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(serve(listener))
        })?;
    Ok(address)
}

async fn serve(listener: std::net::TcpListener) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        connections.spawn(answer(stream));
    }
}

/// Answers requests without a body until the peer closes.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let body = "x".repeat(1_024);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\n\r\n";
    let response = [head, &body].concat();
    let mut buffer = Vec::with_capacity(4 << 10);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 || buffer.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        while let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            buffer.drain(..end + 4);
            stream.write_all(response.as_bytes()).await?;
        }
    }
}

//! Servers that give back what they get, and one that only gives.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::serve_each;

/// Bytes of a read.
const BUFFER: usize = 16 << 10;

/// Bytes of a write of [`source`].
const SOURCE_WRITE: usize = 256 << 10;

pub(super) async fn tcp(listener: TcpListener) -> std::io::Result<()> {
    serve_each(listener, echo).await
}

pub(super) async fn source(listener: TcpListener) -> std::io::Result<()> {
    let bytes: &'static [u8] = vec![b'x'; SOURCE_WRITE].leak();
    let give = |mut stream: TcpStream| async move {
        // It ends when the peer does.
        while stream.write_all(bytes).await.is_ok() {}
    };
    serve_each(listener, give).await
}

pub(super) async fn tls(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
) -> std::io::Result<()> {
    let acceptor = TlsAcceptor::from(config);
    let answer = |stream| {
        let accepting = acceptor.accept(stream);
        async move {
            if let Ok(stream) = accepting.await {
                echo(stream).await;
            }
        }
    };
    serve_each(listener, answer).await
}

/// A thread that blocks, since nothing is cheaper.
pub(super) fn udp() -> std::io::Result<SocketAddr> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    std::thread::Builder::new()
        .name("udp".to_owned())
        .spawn(move || {
            let mut buffer = [0; 64 << 10];
            loop {
                // A peer that is gone is told by an error of the next call.
                if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..len], from);
                }
            }
        })?;
    Ok(address)
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(len @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..len]).await.is_err() {
            return;
        }
        if stream.flush().await.is_err() {
            return;
        }
    }
    // The peer may be gone.
    let _ = stream.shutdown().await;
}

//! How a client of configd gets its connections: over mTLS, each with the certificate of that moment.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::{Credentials, Role};

/// Time to connect, before the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to peers of one role; what a gRPC channel is made with.
#[derive(Debug, Clone)]
pub struct Dialer {
    credentials: Credentials,
    role: Role,
}

impl tower::Service<Uri> for Dialer {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { credentials, role } = self.clone();
        Box::pin(async move { credentials.dial(&uri, role).await })
    }
}

impl Credentials {
    /// What connects to peers of this role.
    pub fn dialer(&self, role: Role) -> Dialer {
        Dialer {
            credentials: self.clone(),
            role,
        }
    }

    /// Connects to a peer of this role.
    ///
    /// # Errors
    /// Where nobody answers, or either side refuses the other.
    async fn dial(&self, uri: &Uri, role: Role) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let connecting = TcpStream::connect((host, uri.port_u16().unwrap_or(443)));
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection within 5 s");
        let stream = timeout(CONNECT_TIMEOUT, connecting).await.map_err(late)??;
        stream.set_nodelay(true)?;
        let connected = self.connect(stream, role).await;
        let (stream, _) =
            connected.map_err(|error| io::Error::new(io::ErrorKind::ConnectionRefused, error))?;
        Ok(TokioIo::new(stream))
    }
}

//! Connecting to an endpoint, in plain or with TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::tls::TlsClient;
use crate::error::ProxyError;
#[cfg(fuzzing)]
use crate::fuzzing::connect;

/// A connection in plain text, or over TLS.
pub(crate) type Io = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Connects, says `first` in plain, and speaks TLS where it is asked for; all together within the bound.
///
/// # Errors
/// When the endpoint does not accept a connection, or none that TLS allows, in time.
pub(super) async fn dial(
    address: SocketAddr,
    first: &[u8],
    tls: Option<&Arc<TlsClient>>,
    bound: Duration,
) -> Result<Io, ProxyError> {
    let dialling = async {
        let refused = |error: std::io::Error| {
            tracing::debug!(%address, %error, "an endpoint did not accept a connection");
            ProxyError::ConnectFailed
        };
        let mut stream = connect(address).await.map_err(refused)?;
        // A socket that refuses this still works, only slower.
        let _ = stream.set_nodelay(true);
        if !first.is_empty() {
            stream.write_all(first).await.map_err(refused)?;
        }
        let Some(tls) = tls else {
            return Ok(Either::Left(stream));
        };
        match tls.connect(stream).await {
            Ok(stream) => Ok(Either::Right(Box::new(stream))),
            Err(error) => {
                tracing::debug!(%address, %error, "TLS to an endpoint was not set up");
                Err(ProxyError::UpstreamTls)
            }
        }
    };
    let dialled = tokio::time::timeout(bound, dialling).await;
    dialled.unwrap_or(Err(ProxyError::ConnectTimeout))
}

#[cfg(not(fuzzing))]
async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect(address).await
}

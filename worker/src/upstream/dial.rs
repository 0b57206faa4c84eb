//! Connecting to an endpoint, in plain or with TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::tls::TlsClient;
use crate::error::ProxyError;

/// A connection in plain text, or over TLS.
pub(super) type Io = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Connects, and speaks TLS where it is asked for; both together within the bound.
///
/// # Errors
/// When the endpoint does not accept a connection, or none that TLS allows, in time.
pub(super) async fn dial(
    address: SocketAddr,
    tls: Option<&Arc<TlsClient>>,
    bound: Duration,
) -> Result<Io, ProxyError> {
    let dialling = async {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| {
            tracing::debug!(%address, %error, "an endpoint did not accept a connection");
            ProxyError::ConnectFailed
        })?;
        // A socket that refuses this still works, only slower.
        let _ = stream.set_nodelay(true);
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

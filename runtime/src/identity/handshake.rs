//! Both ends of a connection on which each side has shown who it is (mTLS, TLS 1.3).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Credentials, Role, Subject};

/// Time for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a connection did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The other side closed it, or the network did.
    #[error(
        "the connection ended during the TLS handshake: {0}; the other side may speak plaintext"
    )]
    Io(io::Error),
    /// It took too long.
    #[error("the TLS handshake took longer than {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Timeout,
    /// We do not take the other side.
    #[error("the other side is not taken: {0}")]
    Peer(String),
    /// The other side does not take us.
    #[error("the other side refuses {identity}: {reason}")]
    Refused {
        /// Who we are.
        identity: String,
        /// What it says, and what to do.
        reason: String,
    },
    /// Something else of TLS.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
}

impl Credentials {
    /// The server's side of a handshake, with whoever is of our trust domain.
    ///
    /// # Errors
    /// When either side refuses the other, or it takes more than 10 s.
    pub async fn accept<IO>(
        &self,
        io: IO,
    ) -> Result<(tokio_rustls::server::TlsStream<IO>, Subject), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let loaded = self.loaded();
        accept_with(loaded.server.clone(), &loaded.subject, io).await
    }

    /// The server's side of a handshake, with whoever is of our trust domain and of this role.
    ///
    /// # Errors
    /// When either side refuses the other, or it takes more than 10 s.
    pub async fn accept_only<IO>(
        &self,
        role: Role,
        io: IO,
    ) -> Result<(tokio_rustls::server::TlsStream<IO>, Subject), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let loaded = self.loaded();
        let config = loaded.server_for(role).map_err(HandshakeError::Tls)?;
        accept_with(config, &loaded.subject, io).await
    }

    /// The client's side of a handshake, with a peer of this role.
    ///
    /// A server that speaks first, as HTTP/2 does, is awaited: with TLS 1.3 it may refuse us after our handshake
    /// has ended.
    ///
    /// # Errors
    /// When either side refuses the other, or it takes more than 10 s.
    pub async fn connect<IO>(
        &self,
        io: IO,
        role: Role,
    ) -> Result<(tokio_rustls::client::TlsStream<IO>, Subject), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let loaded = self.loaded();
        let config = loaded.client(role).map_err(HandshakeError::Tls)?;
        // The name plays no part: the identity is what is checked.
        let name = ServerName::try_from("tidegate.invalid").expect("it is a name");
        let handshake = async {
            let mut stream = TlsConnector::from(config).connect(name, io).await?;
            stream.fill_buf().await?;
            Ok::<_, io::Error>(stream)
        };
        let stream = timeout(HANDSHAKE_TIMEOUT, handshake).await;
        let stream = stream
            .map_err(|_| HandshakeError::Timeout)?
            .map_err(|error| explained(error, &loaded.subject))?;
        let peer = peer(stream.get_ref().1.peer_certificates())?;
        Ok((stream, peer))
    }
}

async fn accept_with<IO>(
    config: Arc<ServerConfig>,
    ours: &Subject,
    io: IO,
) -> Result<(tokio_rustls::server::TlsStream<IO>, Subject), HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = TlsAcceptor::from(config).accept(io);
    let stream = timeout(HANDSHAKE_TIMEOUT, handshake).await;
    let stream = stream
        .map_err(|_| HandshakeError::Timeout)?
        .map_err(|error| explained(error, ours))?;
    let peer = peer(stream.get_ref().1.peer_certificates())?;
    Ok((stream, peer))
}

fn peer(chain: Option<&[rustls_pki_types::CertificateDer<'_>]>) -> Result<Subject, HandshakeError> {
    let leaf = chain.and_then(<[_]>::first);
    let leaf = leaf.ok_or_else(|| HandshakeError::Peer("it has no certificate".to_owned()))?;
    Subject::of_der(leaf).map_err(|error| HandshakeError::Peer(error.to_string()))
}

fn explained(error: io::Error, ours: &Subject) -> HandshakeError {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(alert)) => HandshakeError::Refused {
            identity: ours.identity.to_string(),
            reason: of_alert(*alert).to_owned(),
        },
        Some(rustls::Error::InvalidCertificate(error)) => {
            HandshakeError::Peer(of_certificate(error))
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            let text = "it shows no certificate; start it with --tls-cert, --tls-key and --tls-ca";
            HandshakeError::Peer(text.to_owned())
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            HandshakeError::Peer("it does not speak TLS".to_owned())
        }
        Some(other) => HandshakeError::Tls(other.clone()),
        None => HandshakeError::Io(error),
    }
}

fn of_alert(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateExpired => {
            "our certificate has expired or does not count yet; issue a new one, and look at both clocks"
        }
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "no authority that it trusts has signed our certificate; compare --tls-ca on both sides"
        }
        AlertDescription::CertificateRequired => "it wants a certificate and got none",
        AlertDescription::CertificateUnknown | AlertDescription::BadCertificate => {
            "our identity is of another trust domain, or not one that it takes; its log says which"
        }
        AlertDescription::UnsupportedCertificate => {
            "our certificate is not for TLS clients (extended key usage)"
        }
        _ => "it ended the handshake; its log says why",
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Other(other) => other.0.to_string(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate has expired ({error}); issue a new one")
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no authority in --tls-ca has signed its certificate".to_owned()
        }
        other => format!("its certificate is not good: {other}"),
    }
}

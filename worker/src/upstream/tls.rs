//! TLS to backends: what is shown, whom is trusted, which protocol is agreed on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use rustls_pki_types::ServerName;
use tidegate_ir::{BackendProtocol, BackendTls};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::verifier;

/// How TLS is spoken to a backend, with one client certificate or none.
pub(crate) struct TlsClient {
    /// Unique in the process: connections of another one are never taken.
    id: u64,
    connector: TlsConnector,
    name: ServerName<'static>,
    protocol: BackendProtocol,
}

/// Shows the same certificate whatever is asked.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl TlsClient {
    /// # Errors
    /// One sentence, when the name is no DNS name or nobody is trusted.
    pub(crate) fn new(
        provider: &Arc<CryptoProvider>,
        tls: &BackendTls,
        protocol: BackendProtocol,
        roots: Arc<RootCertStore>,
        shown: Option<Arc<CertifiedKey>>,
    ) -> Result<Self, String> {
        let name = ServerName::try_from(tls.server_name.to_string())
            .map_err(|_| format!("{:?} is no server name", tls.server_name))?;
        let verifier = verifier::of_server(provider, &tls.sans, roots)?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for both versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match shown {
            Some(key) => builder.with_client_cert_resolver(Arc::new(Always(key))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = match protocol {
            BackendProtocol::Http1 => vec![b"http/1.1".to_vec()],
            BackendProtocol::Http2 => vec![b"h2".to_vec()],
            BackendProtocol::Tcp | BackendProtocol::Udp => vec![],
        };
        static IDS: AtomicU64 = AtomicU64::new(1);
        Ok(Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            connector: TlsConnector::from(Arc::new(config)),
            name,
            protocol,
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// # Errors
    /// When the handshake fails, the certificate is not trusted, or HTTP/2 is wanted and not agreed on.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        let agreed = stream.get_ref().1.alpn_protocol();
        if self.protocol == BackendProtocol::Http2 && agreed != Some(b"h2") {
            return Err(io::Error::other(
                "the backend does not agree to HTTP/2 (ALPN h2)",
            ));
        }
        Ok(stream)
    }
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsClient")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

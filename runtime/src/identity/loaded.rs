//! A certificate with its key and the authorities that count, read from files and ready for handshakes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::verifier::PeerVerifier;
use super::{InvalidCertificate, Role, Subject};

/// HTTP/2, the protocol of gRPC.
const ALPN: &[u8] = b"h2";
/// Bytes of a file, at most.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Where the three files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The certificate, followed by those between it and the authority, as PEM.
    pub certificate: PathBuf,
    /// Its key as PEM: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
    /// The authorities that sign certificates of this trust domain, as PEM.
    pub authorities: PathBuf,
}

/// The bytes of the three files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FileContents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
}

/// One state of the files.
pub(super) struct Loaded {
    pub(super) subject: Subject,
    pub(super) server: Arc<ServerConfig>,
    client: ClientParts,
}

/// What a client's configuration is made of, once it is known which role it wants to reach.
struct ClientParts {
    provider: Arc<CryptoProvider>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

/// Why the files do not make a working identity.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        reason: String,
    },
    /// The certificate names nobody.
    #[error(
        "{path} is for nobody here: {source}; `tidegate certs issue` makes certificates that are"
    )]
    Subject {
        /// The file.
        path: PathBuf,
        /// Why.
        source: InvalidCertificate,
    },
    /// Certificate and key are not of one pair, or are not usable.
    #[error("{certificate} and {key} do not belong together or cannot be used: {source}")]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the library says.
        source: rustls::Error,
    },
    /// The certificate is somebody else's.
    #[error("{path} is for {found}, but this process needs one for the role {wanted}")]
    Role {
        /// The file.
        path: PathBuf,
        /// Who it is for.
        found: String,
        /// Who it must be for.
        wanted: Role,
    },
    /// New files are for somebody else than the old ones.
    #[error(
        "{path} is now for {found}, but this process runs as {wanted}; start it anew to change that"
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Who it is for.
        found: String,
        /// Who it was for.
        wanted: String,
    },
}

impl CredentialFiles {
    pub(super) fn read(&self) -> Result<FileContents, CredentialsError> {
        Ok(FileContents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            authorities: read(&self.authorities)?,
        })
    }
}

impl Loaded {
    pub(super) fn new(
        files: &CredentialFiles,
        contents: &FileContents,
    ) -> Result<Self, CredentialsError> {
        let chain = certificates(&files.certificate, &contents.certificate)?;
        let subject = Subject::of_der(&chain[0]).map_err(|source| CredentialsError::Subject {
            path: files.certificate.clone(),
            source,
        })?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| content(&files.key, format!("no private key as PEM: {error}")))?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&files.authorities, &contents.authorities)? {
            let added = roots.add(authority);
            added.map_err(|error| content(&files.authorities, error.to_string()))?;
        }
        let client = ClientParts {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            chain,
            key,
            roots: Arc::new(roots),
        };
        let server = client
            .server(&subject, None)
            .map_err(|source| CredentialsError::Pair {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                source,
            })?;
        Ok(Self {
            subject,
            server: Arc::new(server),
            client,
        })
    }

    /// The configuration to serve peers of this role, and nobody else.
    pub(super) fn server_for(&self, role: Role) -> Result<Arc<ServerConfig>, rustls::Error> {
        self.client.server(&self.subject, Some(role)).map(Arc::new)
    }

    /// The configuration to reach a peer of this role.
    pub(super) fn client(&self, role: Role) -> Result<Arc<ClientConfig>, rustls::Error> {
        let parts = &self.client;
        let verifier = parts.verifier(&self.subject, Some(role))?;
        let mut config = ClientConfig::builder_with_provider(parts.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(parts.chain.clone(), parts.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.enable_sni = false;
        // A resumed session would not look at certificates again.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

impl ClientParts {
    fn server(&self, subject: &Subject, role: Option<Role>) -> Result<ServerConfig, rustls::Error> {
        let verifier = self.verifier(subject, role)?;
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn verifier(
        &self,
        subject: &Subject,
        role: Option<Role>,
    ) -> Result<PeerVerifier, rustls::Error> {
        let trust_domain = subject.identity.trust_domain.clone();
        PeerVerifier::new(
            self.provider.clone(),
            self.roots.clone(),
            trust_domain,
            role,
        )
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Loaded");
        text.field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl fmt::Debug for FileContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContents").finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let failed = |source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    };
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > FILE_LEN_MAX {
        return Err(content(
            path,
            format!("{len} bytes; at most {FILE_LEN_MAX} are read"),
        ));
    }
    std::fs::read(path).map_err(failed)
}

/// At least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(content(path, "no certificate as PEM is in it".to_owned())),
        Err(error) => Err(content(
            path,
            format!("a certificate is no PEM text: {error}"),
        )),
    }
}

fn content(path: &Path, reason: String) -> CredentialsError {
    CredentialsError::Content {
        path: path.to_owned(),
        reason,
    }
}

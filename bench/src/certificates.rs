//! The certificates of a measurement, made anew for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The name that both are for.
pub(crate) const HOST: &str = "www.bench.test";

/// One certificate for each kind of key.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// ECDSA with P-256.
    pub(crate) ecdsa: Certificate,
    /// RSA with 2,048 bits.
    pub(crate) rsa: Certificate,
}

/// A certificate with its key, as text and as files.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) chain: String,
    pub(crate) key: String,
    /// Chain and key in files of their own.
    pub(crate) chain_file: PathBuf,
    pub(crate) key_file: PathBuf,
    /// Both in one file.
    pub(crate) both_file: PathBuf,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Certificates {
    /// Makes them, with their files in `dir`.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let ecdsa = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
        Ok(Self {
            ecdsa: Certificate::new(dir, "ecdsa", &ecdsa)?,
            rsa: Certificate::new(dir, "rsa", &rsa)?,
        })
    }
}

impl Certificate {
    fn new(dir: &Path, name: &str, key: &KeyPair) -> anyhow::Result<Self> {
        let certificate = CertificateParams::new(vec![HOST.to_owned()])?.self_signed(key)?;
        let (chain, key_text) = (certificate.pem(), key.serialize_pem());
        let file = |ending: &str, text: &str| -> anyhow::Result<PathBuf> {
            let path = dir.join(format!("{name}.{ending}"));
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            Ok(path)
        };
        Ok(Self {
            chain_file: file("crt", &chain)?,
            key_file: file("key", &key_text)?,
            both_file: file("pem", &format!("{chain}{key_text}"))?,
            chain,
            key: key_text,
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        })
    }

    /// For a server of our own.
    pub(crate) fn server(&self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        let key = PrivateKeyDer::try_from(self.key_der.clone()).map_err(anyhow::Error::msg)?;
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)?;
        Ok(Arc::new(config))
    }

    /// For a client that trusts this certificate only, and resumes sessions or never does.
    pub(crate) fn client(&self, resumes: bool) -> anyhow::Result<Arc<rustls::ClientConfig>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone())?;
        let mut config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !resumes {
            config.resumption = rustls::client::Resumption::disabled();
        }
        Ok(Arc::new(config))
    }
}

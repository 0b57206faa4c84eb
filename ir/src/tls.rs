//! Certificates, their keys, and whom a worker trusts.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::{Hostname, PartKey, PartKind, PartName};

/// A certificate chain that a listener can present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Name of the part: source, namespace and name of the Secret, joined by `/`.
    pub name: PartName,
    /// DER, the leaf first; at least one.
    #[serde(serialize_with = "lengths")]
    pub chain: Vec<Bytes>,
    /// DNS names of the leaf, ordered.
    pub dns_names: Vec<Hostname>,
    /// End of validity of the leaf, in seconds since 1970-01-01 UTC.
    pub not_after_unix_s: i64,
    /// Name of a [`PrivateKey`] part.
    pub private_key: PartName,
}

/// The key of a certificate, as a part of its own so that readers of configuration never get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrivateKey {
    /// Name of the part.
    pub name: PartName,
    /// PKCS #8, PKCS #1 or SEC1 DER.
    pub der: SecretBytes,
}

/// Certificates of authorities that are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustBundle {
    /// Name of the part.
    pub name: PartName,
    /// DER; at least one, ordered, without duplicates.
    #[serde(serialize_with = "lengths")]
    pub certificates: Vec<Bytes>,
}

/// How a worker reaches a backend over TLS (BackendTLSPolicy, GEP-1897).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendTls {
    /// Sent as SNI; also what the certificate must be for, where `sans` is empty.
    pub server_name: Arc<str>,
    /// The certificate must be for any of these; ordered.
    pub sans: Vec<SubjectAltName>,
    /// Who must have signed the certificate.
    pub trust: Trust,
    /// Name of the [`Certificate`] part that is shown; `None` for that of the listener, if any.
    pub client_certificate: Option<PartName>,
}

/// A name that a certificate can be for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum SubjectAltName {
    /// A DNS name, exact or `*.suffix`.
    Dns(Arc<str>),
    /// A URI, such as a SPIFFE id, compared byte by byte.
    Uri(Arc<str>),
}

/// Who must have signed a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Trust {
    /// The authorities of the [`TrustBundle`] part with that name.
    Bundle(PartName),
    /// The authorities that the worker's system trusts.
    System,
}

impl BackendTls {
    pub(crate) fn references(&self) -> Vec<PartKey> {
        let trust = match &self.trust {
            Trust::Bundle(name) => Some(PartKey::new(PartKind::TrustBundle, name.clone())),
            Trust::System => None,
        };
        let certificate = self.client_certificate.iter();
        let certificate = certificate.map(|name| PartKey::new(PartKind::Certificate, name.clone()));
        trust.into_iter().chain(certificate).collect()
    }
}

/// Bytes that do not print.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Bytes);

impl SecretBytes {
    /// Takes the bytes in.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one place that uses them.
    pub fn expose(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

fn lengths<S: serde::Serializer>(chain: &[Bytes], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(chain.iter().map(|der| format!("{} bytes", der.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_never_prints() {
        let key = PrivateKey {
            name: "k".into(),
            der: SecretBytes::new(&b"hunter2"[..]),
        };
        assert!(!format!("{key:?}").contains("104"));
        assert!(format!("{key:?}").contains("[redacted]"));
    }
}

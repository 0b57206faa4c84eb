//! Secrets that hold a certificate and its key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_ir::{Certificate, Hostname, PartName, PrivateKey, SecretBytes};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::api::core::Secret;
use crate::key_match;

/// What is in a Secret of type `kubernetes.io/tls`, or why it is of no use.
#[derive(Debug)]
pub(crate) struct TlsSecret {
    pair: Result<KeyPair, String>,
    is_deleted: bool,
}

/// A certificate chain and the key of its leaf.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeyPair {
    chain: Vec<Bytes>,
    dns_names: Vec<Hostname>,
    not_before_unix_s: i64,
    not_after_unix_s: i64,
    key: SecretBytes,
}

impl TlsSecret {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self {
            pair: key_pair(secret),
            is_deleted: secret.metadata.annotations.deleted.is_some(),
        }
    }

    /// Whether it is gone at its source, and this is what it was last.
    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    /// The pair, or one sentence why there is none.
    pub(crate) fn key_pair(&self) -> Result<&KeyPair, &str> {
        self.pair.as_ref().map_err(String::as_str)
    }
}

impl KeyPair {
    /// The parts for it.
    pub(crate) fn parts(&self, name: &PartName) -> (Certificate, PrivateKey) {
        let certificate = Certificate {
            name: name.clone(),
            chain: self.chain.clone(),
            dns_names: self.dns_names.clone(),
            not_after_unix_s: self.not_after_unix_s,
            private_key: name.clone(),
        };
        let key = PrivateKey {
            name: name.clone(),
            der: self.key.clone(),
        };
        (certificate, key)
    }

    /// Names that clients may ask for.
    pub(crate) fn dns_names(&self) -> &[Hostname] {
        &self.dns_names
    }

    /// The first and the last second in which it is valid, since 1970-01-01 UTC.
    pub(crate) fn validity_unix_s(&self) -> (i64, i64) {
        (self.not_before_unix_s, self.not_after_unix_s)
    }
}

fn key_pair(secret: &Secret) -> Result<KeyPair, String> {
    let type_ = secret.type_.as_deref().unwrap_or("Opaque");
    if type_ != "kubernetes.io/tls" {
        return Err(format!("its type is {type_}, it must be kubernetes.io/tls"));
    }
    let certificate_pem = entry(secret, "tls.crt")?;
    let key_pem = entry(secret, "tls.key")?;
    let chain = CertificateDer::pem_slice_iter(&certificate_pem)
        .map(|der| der.map(|der| Bytes::copy_from_slice(&der)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("its tls.crt is not PEM: {error}"))?;
    let Some(leaf) = chain.first() else {
        return Err("its tls.crt has no PEM block of type CERTIFICATE".to_owned());
    };
    let (_, leaf) = X509Certificate::from_der(leaf)
        .map_err(|_| "the first certificate of its tls.crt is no X.509 certificate".to_owned())?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|error| format!("its tls.key has no usable private key: {error}"))?;
    if !key_match::may_belong_together(&leaf, &key) {
        return Err("its tls.key does not belong to its tls.crt".to_owned());
    }
    let dns_names = dns_names(&leaf);
    let not_before_unix_s = leaf.validity().not_before.timestamp();
    let not_after_unix_s = leaf.validity().not_after.timestamp();
    let key = SecretBytes::new(key.secret_der().to_vec());
    Ok(KeyPair {
        dns_names,
        not_before_unix_s,
        not_after_unix_s,
        chain,
        key,
    })
}

fn entry(secret: &Secret, name: &str) -> Result<Vec<u8>, String> {
    if let Some(text) = secret.string_data.get(name) {
        return Ok(text.clone().into_bytes());
    }
    let Some(text) = secret.data.get(name) else {
        return Err(format!("it has no {name}"));
    };
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD
        .decode(text)
        .map_err(|error| format!("its {name} is not base64: {error}"))
}

/// Names that a client may ask for; a certificate without alternative names has none.
fn dns_names(leaf: &X509Certificate<'_>) -> Vec<Hostname> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else {
        return vec![];
    };
    let names = extension.value.general_names.iter();
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Hostname::parse(name).ok(),
        _ => None,
    });
    let mut names: Vec<Hostname> = names.collect();
    names.sort();
    names.dedup();
    names
}

//! Reads whose a certificate is. It says nothing of whether the certificate is good: that is the handshake's work.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Identity, InvalidIdentity};

/// What a certificate says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The holder.
    pub identity: Identity,
    /// Begin of validity, in seconds since 1970-01-01 UTC.
    pub not_before_unix_s: i64,
    /// End of validity, in seconds since 1970-01-01 UTC.
    pub not_after_unix_s: i64,
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// It is no X.509 certificate.
    #[error("it is no X.509 certificate in DER: {0}")]
    Encoding(String),
    /// It may sign certificates.
    #[error("it is a certificate of an authority, not of a process")]
    Authority,
    /// An X509-SVID has one URI among its alternative names.
    #[error(
        "it has {0} URIs among its alternative names; an identity has exactly one, a SPIFFE id"
    )]
    Uris(usize),
    /// The URI is no identity.
    #[error(transparent)]
    Identity(#[from] InvalidIdentity),
}

impl Subject {
    /// Reads a leaf certificate (X509-SVID).
    ///
    /// # Errors
    /// It must be a leaf with one URI, which is an identity.
    pub fn of_der(der: &[u8]) -> Result<Self, InvalidCertificate> {
        let certificate = parse(der)?;
        if certificate.is_ca() {
            return Err(InvalidCertificate::Authority);
        }
        let uris = uris(&certificate)?;
        let [uri] = uris[..] else {
            return Err(InvalidCertificate::Uris(uris.len()));
        };
        Ok(Self {
            identity: uri.parse()?,
            not_before_unix_s: certificate.validity().not_before.timestamp(),
            not_after_unix_s: certificate.validity().not_after.timestamp(),
        })
    }
}

pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, InvalidCertificate> {
    let parsed = X509Certificate::from_der(der);
    let (rest, certificate) =
        parsed.map_err(|error| InvalidCertificate::Encoding(error.to_string()))?;
    if rest.is_empty() {
        Ok(certificate)
    } else {
        let text = "bytes follow it".to_owned();
        Err(InvalidCertificate::Encoding(text))
    }
}

pub(super) fn uris<'c>(
    certificate: &'c X509Certificate<'_>,
) -> Result<Vec<&'c str>, InvalidCertificate> {
    let names = certificate.subject_alternative_name();
    let names = names.map_err(|error| InvalidCertificate::Encoding(error.to_string()))?;
    let names = names.map_or(&[][..], |names| names.value.general_names.as_slice());
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    Ok(uris.collect())
}

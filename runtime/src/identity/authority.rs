//! A certificate authority for development and tests. It keeps no list of what it signed and revokes nothing.

mod folder;

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Identity, InvalidCertificate, InvalidIdentity, Principal, TrustDomain, certificate};

pub use folder::{AUTHORITY_CERTIFICATE, AUTHORITY_KEY, CERTIFICATE, FolderError, KEY};

/// Clocks may differ by this much. Whoever signs with a clock ahead would otherwise make certificates that nobody takes yet.
const CLOCK_SKEW: Duration = Duration::from_hours(24);

/// An authority of one trust domain.
pub struct Authority {
    trust_domain: TrustDomain,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key as PKCS #8; a secret.
    pub key_pem: String,
}

/// From when and until when a certificate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last one.
    pub not_after: SystemTime,
}

/// Why there is no authority or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A key or signature could not be made or read.
    #[error(transparent)]
    Sign(#[from] rcgen::Error),
    /// The authority's certificate cannot be used.
    #[error("the authority's certificate cannot be read")]
    Certificate(#[from] InvalidCertificate),
    /// The authority's certificate is no PEM text.
    #[error("the authority's certificate is no PEM text: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// The authority's certificate is for no trust domain.
    #[error(
        "the authority's certificate names no trust domain; `tidegate certs init` makes one that does"
    )]
    NoTrustDomain,
    /// The trust domain or a name is not valid.
    #[error(transparent)]
    Identity(#[from] InvalidIdentity),
}

impl Validity {
    /// From a day before now, since clocks differ, for this long.
    pub fn from_now(length: Duration) -> Self {
        let now = SystemTime::now();
        Self {
            not_before: now - CLOCK_SKEW,
            not_after: now + length,
        }
    }
}

impl Authority {
    /// An authority with a new key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn create(
        trust_domain: TrustDomain,
        validity: Validity,
    ) -> Result<(Self, Issued), AuthorityError> {
        let key = KeyPair::generate()?;
        let params = authority_params(&trust_domain, validity)?;
        let certificate_pem = params.self_signed(&key)?.pem();
        let issued = Issued {
            certificate_pem: certificate_pem.clone(),
            key_pem: key.serialize_pem(),
        };
        let authority = Self {
            trust_domain,
            certificate_pem,
            issuer: Issuer::new(params, key),
        };
        Ok((authority, issued))
    }

    /// The authority that [`Authority::create`] made, or another one whose certificate names its trust domain alone
    /// (`spiffe://DOMAIN`).
    ///
    /// # Errors
    /// The texts must be those of such an authority.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem)?;
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())?;
        let parsed = certificate::parse(&der)?;
        let uris = certificate::uris(&parsed)?;
        let [uri] = uris[..] else {
            return Err(AuthorityError::NoTrustDomain);
        };
        let trust_domain = uri.strip_prefix("spiffe://");
        let trust_domain: TrustDomain =
            trust_domain.ok_or(AuthorityError::NoTrustDomain)?.parse()?;
        Ok(Self {
            trust_domain,
            certificate_pem: certificate_pem.to_owned(),
            issuer: Issuer::from_ca_cert_der(&der, key)?,
        })
    }

    /// Whom it signs for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What those who trust it need.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate with a new key (ECDSA, P-256). `dns_names` are for clients that check them; Tidegate's do not.
    ///
    /// # Errors
    /// A DNS name must be ASCII.
    pub fn issue(
        &self,
        principal: Principal,
        dns_names: &[String],
        validity: Validity,
    ) -> Result<Issued, AuthorityError> {
        let identity = Identity {
            trust_domain: self.trust_domain.clone(),
            principal,
        };
        let mut params = CertificateParams::new(dns_names)?;
        let id = identity.to_string();
        params
            .subject_alt_names
            .push(SanType::URI(id.as_str().try_into()?));
        params.distinguished_name = DistinguishedName::new();
        // RFC 5280 bounds it to 64 characters.
        let common_name: String = identity.principal.to_string().chars().take(64).collect();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.not_before = validity.not_before.into();
        params.not_after = validity.not_after.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(Issued {
            certificate_pem: params.signed_by(&key, &self.issuer)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

fn authority_params(
    trust_domain: &TrustDomain,
    validity: Validity,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    let id = format!("spiffe://{trust_domain}");
    params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Tidegate development authority");
    params.distinguished_name.push(
        DnType::OrganizationName,
        trust_domain.as_str().chars().take(64).collect::<String>(),
    );
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Authority");
        text.field("trust_domain", &self.trust_domain)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Issued");
        text.field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

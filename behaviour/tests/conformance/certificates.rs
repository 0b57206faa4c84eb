//! Certificates and authorities, made anew for each case.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::case::CertificateSpec;

/// The certificates of a case, by name.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    by_name: BTreeMap<String, Made>,
}

/// A certificate with its key.
#[derive(Debug)]
struct Made {
    pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
    key: Vec<u8>,
    authority: bool,
}

impl Certificates {
    /// Makes all of them, authorities first.
    pub(crate) fn make(specs: &BTreeMap<String, CertificateSpec>) -> anyhow::Result<Self> {
        let mut authorities = BTreeMap::new();
        let mut made = Self::default();
        for (name, spec) in specs.iter().filter(|(_, spec)| spec.authority) {
            let key = KeyPair::generate()?;
            let (key_pem, key_der) = (key.serialize_pem(), key.serialize_der());
            let authority = CertifiedIssuer::self_signed(params(name, spec)?, key)?;
            let (pem, der) = (authority.pem(), authority.der().clone());
            made.keep(name, pem, der, (key_pem, key_der), true);
            authorities.insert(name.clone(), authority);
        }
        for (name, spec) in specs.iter().filter(|(_, spec)| !spec.authority) {
            let key = KeyPair::generate()?;
            let params = params(name, spec)?;
            let certificate = match &spec.issuer {
                Some(issuer) => {
                    let issuer = authorities.get(issuer);
                    params.signed_by(&key, issuer.context("the issuer is an authority")?)?
                }
                None => params.self_signed(&key)?,
            };
            let (pem, der) = (certificate.pem(), certificate.der().clone());
            let key = (key.serialize_pem(), key.serialize_der());
            made.keep(name, pem, der, key, false);
        }
        Ok(made)
    }

    fn keep(
        &mut self,
        name: &str,
        pem: String,
        der: CertificateDer<'static>,
        (key_pem, key): (String, Vec<u8>),
        authority: bool,
    ) {
        let made = Made {
            pem,
            key_pem,
            der,
            key,
            authority,
        };
        self.by_name.insert(name.to_owned(), made);
    }

    fn get(&self, name: &str) -> anyhow::Result<&Made> {
        let made = self.by_name.get(name);
        made.with_context(|| format!("the case has no certificate {name}"))
    }

    /// The certificate as PEM.
    pub(crate) fn pem(&self, name: &str) -> anyhow::Result<&str> {
        Ok(&self.get(name)?.pem)
    }

    /// The private key as PEM.
    pub(crate) fn key_pem(&self, name: &str) -> anyhow::Result<&str> {
        Ok(&self.get(name)?.key_pem)
    }

    /// The chain and the key for a handshake.
    pub(crate) fn identity(&self, name: &str) -> anyhow::Result<Identity> {
        let made = self.get(name)?;
        let key = PrivatePkcs8KeyDer::from(made.key.clone());
        Ok((vec![made.der.clone()], PrivateKeyDer::from(key)))
    }

    /// The name of a certificate.
    pub(crate) fn name_of(&self, der: &CertificateDer<'_>) -> Option<&str> {
        let same = |made: &Made| *made.der == **der;
        let found = self.by_name.iter().find(|(_, made)| same(made));
        found.map(|(name, _)| name.as_str())
    }

    /// An authority and no other, or all authorities and self-signed certificates.
    pub(crate) fn roots(&self, only: Option<&str>) -> anyhow::Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        match only {
            Some(name) => roots.add(self.get(name)?.der.clone())?,
            None => {
                let authorities = self.by_name.values().filter(|made| made.authority);
                roots.add_parsable_certificates(authorities.map(|made| made.der.clone()));
            }
        }
        Ok(Arc::new(roots))
    }
}

/// A chain and its key.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn params(name: &str, spec: &CertificateSpec) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(spec.dns.clone())?;
    for uri in &spec.uris {
        let uri = SanType::URI(uri.as_str().try_into()?);
        params.subject_alt_names.push(uri);
    }
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if spec.authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    }
    Ok(params)
}

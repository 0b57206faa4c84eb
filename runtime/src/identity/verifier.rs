//! Whether a peer's certificate is good: signed by an authority, of our trust domain, for the wanted role.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{InvalidCertificate, Role, Subject, TrustDomain};

/// Verifies either side by its identity; names of hosts play no part.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    trust_domain: TrustDomain,
    /// What the peer must be; any role where it is `None`.
    role: Option<Role>,
}

/// Why a well signed certificate is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("its certificate is for nobody here: {0}")]
    Subject(#[from] InvalidCertificate),
    #[error("it is {found}, of another trust domain than {wanted}")]
    TrustDomain { found: String, wanted: TrustDomain },
    #[error("it is {found}, but only the role {wanted} is taken here")]
    Role { found: String, wanted: Role },
}

impl PeerVerifier {
    pub(super) fn new(
        provider: Arc<CryptoProvider>,
        roots: Arc<RootCertStore>,
        trust_domain: TrustDomain,
        role: Option<Role>,
    ) -> Result<Self, Error> {
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        Ok(Self {
            clients: clients.map_err(|error| Error::General(error.to_string()))?,
            provider,
            roots,
            trust_domain,
            role,
        })
    }

    fn check(&self, der: &[u8]) -> Result<(), Refusal> {
        let Subject { identity, .. } = Subject::of_der(der)?;
        if identity.trust_domain != self.trust_domain {
            return Err(Refusal::TrustDomain {
                found: identity.to_string(),
                wanted: self.trust_domain.clone(),
            });
        }
        match self.role {
            Some(wanted) if identity.principal.role() != wanted => Err(Refusal::Role {
                found: identity.to_string(),
                wanted,
            }),
            _ => Ok(()),
        }
    }
}

fn refused(refusal: Refusal) -> Error {
    let other = OtherError(Arc::new(refusal));
    Error::InvalidCertificate(CertificateError::Other(other))
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        self.check(end_entity).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .clients
            .verify_client_cert(end_entity, intermediates, now)?;
        self.check(end_entity).map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

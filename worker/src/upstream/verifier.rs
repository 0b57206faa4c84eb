//! Whether a backend's certificate is good: signed by an authority, and for one of the wanted names.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tidegate_ir::{Hostname, SubjectAltName};
use webpki::EndEntityCert;

/// Verifies by alternative names instead of the server's name (GEP-1897).
#[derive(Debug)]
struct ByAltName {
    sans: Vec<SubjectAltName>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

/// A verifier by the server's name, or by `sans` where there are any.
///
/// # Errors
/// One sentence, when nobody is trusted.
pub(super) fn of_server(
    provider: &Arc<CryptoProvider>,
    sans: &[SubjectAltName],
    roots: Arc<RootCertStore>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if roots.is_empty() {
        return Err("no authority is trusted, so no certificate of the backend can be good".into());
    }
    if sans.is_empty() {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
        return Ok(verifier.map_err(|error| error.to_string())?);
    }
    Ok(Arc::new(ByAltName {
        sans: sans.to_vec(),
        roots,
        provider: provider.clone(),
    }))
}

impl ServerCertVerifier for ByAltName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        let certificate = EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self
            .sans
            .iter()
            .any(|san| is_for(&certificate, &parsed, san))
        {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidForName))
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
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn is_for(
    certificate: &EndEntityCert<'_>,
    parsed: &ParsedCertificate<'_>,
    san: &SubjectAltName,
) -> bool {
    match san {
        SubjectAltName::Uri(uri) => certificate.valid_uri_names().any(|name| *name == **uri),
        SubjectAltName::Dns(name) => match Hostname::parse(name) {
            Ok(Hostname::Wildcard(_)) => is_below(certificate, name),
            _ => ServerName::try_from(&**name)
                .is_ok_and(|name| rustls::client::verify_server_name(parsed, &name).is_ok()),
        },
    }
}

/// Whether a name of the certificate is the wildcard itself, or a name that it stands for.
fn is_below(certificate: &EndEntityCert<'_>, wildcard: &str) -> bool {
    let wanted = Hostname::parse(wildcard);
    certificate.valid_dns_names().any(|name| {
        let name = name.to_ascii_lowercase();
        name == wildcard || wanted.as_ref().is_ok_and(|wanted| wanted.matches(&name))
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key is made");
        CertifiedIssuer::self_signed(params, key).expect("it is signed")
    }

    /// Whether a certificate of `signer` for these names is good where `trusted` and `wanted` count.
    fn is_good(
        signer: &Authority,
        trusted: &Authority,
        names: &[SanType],
        wanted: &[SubjectAltName],
    ) -> bool {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().expect("a key is made");
        let leaf = params.signed_by(&key, signer).expect("it is signed");
        let mut roots = RootCertStore::empty();
        roots
            .add(trusted.der().clone())
            .expect("it is an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = of_server(&provider, wanted, Arc::new(roots)).expect("somebody is trusted");
        let server = ServerName::try_from("server.example").expect("it is a name");
        let now = UnixTime::now();
        let verified = verifier.verify_server_cert(leaf.der(), &[], &server, &[], now);
        verified.is_ok()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().expect("it is ASCII"))
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().expect("it is ASCII"))
    }

    #[test]
    fn without_alternative_names_the_server_name_counts() {
        let ca = authority();
        assert!(is_good(&ca, &ca, &[dns("server.example")], &[]));
        assert!(!is_good(&ca, &ca, &[dns("other.example")], &[]));
    }

    #[test]
    fn with_alternative_names_only_these_count() {
        let ca = authority();
        let wanted = [
            SubjectAltName::Dns("pods.example".into()),
            SubjectAltName::Dns("*.wild.example".into()),
            SubjectAltName::Uri("spiffe://cluster/ns/shop/sa/cart".into()),
        ];
        let good = |name: SanType| is_good(&ca, &ca, &[name], &wanted);
        assert!(good(dns("pods.example")));
        assert!(good(dns("a.wild.example")));
        assert!(good(dns("*.wild.example")));
        assert!(good(uri("spiffe://cluster/ns/shop/sa/cart")));
        assert!(!good(dns("server.example")));
        assert!(!good(dns("wild.example")));
        assert!(!good(dns("evilwild.example")));
        assert!(!good(uri("spiffe://cluster/ns/shop/sa/cart2")));
        assert!(!good(uri("SPIFFE://cluster/ns/shop/sa/cart")));
        assert!(!good(dns("x.pods.example")));
    }

    #[test]
    fn a_right_name_from_a_wrong_authority_is_refused() {
        let (ca, stranger) = (authority(), authority());
        let wanted = [SubjectAltName::Dns("pods.example".into())];
        assert!(is_good(&ca, &ca, &[dns("pods.example")], &wanted));
        assert!(!is_good(&stranger, &ca, &[dns("pods.example")], &wanted));
        assert!(!is_good(&stranger, &ca, &[dns("server.example")], &[]));
    }

    #[test]
    fn nobody_trusted_is_an_error_not_an_open_door() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        assert!(of_server(&provider, &[], Arc::new(RootCertStore::empty())).is_err());
    }
}

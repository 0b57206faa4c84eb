//! Whether a private key fits a certificate, as far as that can be told without cryptography.

use rustls_pki_types::PrivateKeyDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::ber::BerObjectContent;
use x509_parser::der_parser::der::{DerObject, parse_der};
use x509_parser::public_key::PublicKey;

/// False only where the two certainly do not belong together.
pub(crate) fn may_belong_together(leaf: &X509Certificate<'_>, key: &PrivateKeyDer<'_>) -> bool {
    let Ok(public) = leaf.public_key().parsed() else {
        return true;
    };
    let Some(half) = public_half(key) else {
        return true;
    };
    match (&public, &half) {
        (PublicKey::RSA(rsa), Half::Rsa(modulus)) => {
            without_leading_zeros(rsa.modulus) == without_leading_zeros(modulus)
        }
        (PublicKey::EC(point), Half::Ec(Some(own))) => point.data() == own.as_slice(),
        (PublicKey::EC(_), Half::Ec(None)) => true,
        (PublicKey::RSA(_), Half::Ec(_)) | (PublicKey::EC(_), Half::Rsa(_)) => false,
        _ => true,
    }
}

/// What a private key says about its public key.
enum Half {
    Rsa(Vec<u8>),
    Ec(Option<Vec<u8>>),
}

fn public_half(key: &PrivateKeyDer<'_>) -> Option<Half> {
    match key {
        PrivateKeyDer::Pkcs1(der) => rsa(der.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(der) => ec(der.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(der) => pkcs8(der.secret_pkcs8_der()),
        _ => None,
    }
}

/// PKCS #8 (RFC 5958): version, algorithm, an octet string with the key in the algorithm's own form.
fn pkcs8(der: &[u8]) -> Option<Half> {
    let fields = sequence(der)?;
    let algorithm = fields.get(1)?.as_sequence().ok()?;
    let oid = algorithm.first()?.as_oid().ok()?.to_id_string();
    let inner = fields.get(2)?.as_slice().ok()?;
    match oid.as_str() {
        "1.2.840.113549.1.1.1" => rsa(inner),
        "1.2.840.10045.2.1" => ec(inner),
        _ => None,
    }
}

/// PKCS #1 (RFC 8017): version, modulus, and more.
fn rsa(der: &[u8]) -> Option<Half> {
    let fields = sequence(der)?;
    let modulus = fields.get(1)?.as_slice().ok()?;
    Some(Half::Rsa(modulus.to_vec()))
}

/// SEC 1 (RFC 5915): version, key, optional parameters `[0]`, optional public key `[1]`.
fn ec(der: &[u8]) -> Option<Half> {
    let fields = sequence(der)?;
    let public = fields
        .iter()
        .find(|field| field.header.tag().0 == 1 && !field.header.is_universal());
    let point = public.and_then(|field| {
        let (_, bits) = parse_der(field.as_slice().ok()?).ok()?;
        match bits.content {
            BerObjectContent::BitString(_, bits) => Some(bits.data.to_vec()),
            _ => None,
        }
    });
    Some(Half::Ec(point))
}

fn sequence(der: &[u8]) -> Option<Vec<DerObject<'_>>> {
    let (_, object) = parse_der(der).ok()?;
    object.as_sequence().ok().cloned()
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

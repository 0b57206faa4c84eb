//! What a Secret with a certificate holds, and whether that is still good. No I/O.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use tidegate_runtime::identity::authority::{Authority, AuthorityError, Validity};
use tidegate_runtime::identity::{Identity, Principal, TrustDomain};

use crate::leaf::{lasts_until, subject_of};

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// An authority is replaced by people, who replace all that it signed, so it lasts.
const AUTHORITY_VALIDITY: Duration = DAY.saturating_mul(3_650);
/// How long what it signs counts.
const VALIDITY: Duration = DAY.saturating_mul(90);
/// A certificate that counts for less is replaced.
const RENEW_BEFORE: Duration = DAY.saturating_mul(30);

/// The certificate, its key and whom its holder believes, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    certificate: String,
    key: String,
    /// None at an authority.
    authorities: Option<String>,
}

/// What is to become of a Secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// With the reason.
    Replace(&'static str),
}

impl Contents {
    /// What the Secret holds; `None` where a part of it is missing or no text.
    pub(super) fn of_secret(secret: &Secret) -> Option<Self> {
        let text = |name: &str| {
            let bytes = secret.data.as_ref()?.get(name)?;
            String::from_utf8(bytes.0.clone()).ok()
        };
        Some(Self {
            certificate: text("tls.crt")?,
            key: text("tls.key")?,
            authorities: text("ca.crt"),
        })
    }

    /// What to merge into a Secret, if it still is of that version.
    pub(super) fn patch(&self, version: Option<String>) -> Secret {
        let mut data = BTreeMap::new();
        let mut add = |name: &str, text: &str| {
            data.insert(name.to_owned(), ByteString(text.as_bytes().to_vec()));
        };
        add("tls.crt", &self.certificate);
        add("tls.key", &self.key);
        if let Some(authorities) = &self.authorities {
            add("ca.crt", authorities);
        }
        let mut secret = Secret {
            data: Some(data),
            ..Secret::default()
        };
        secret.metadata.resource_version = version;
        secret
    }

    /// The authority that this is.
    pub(super) fn authority(&self) -> Result<Authority, AuthorityError> {
        Authority::from_pem(&self.certificate, &self.key)
    }
}

/// A new authority, and what its Secret is to hold.
pub(super) fn new_authority(domain: TrustDomain) -> Result<(Authority, Contents), AuthorityError> {
    let (authority, issued) = Authority::create(domain, Validity::from_now(AUTHORITY_VALIDITY))?;
    let contents = Contents {
        certificate: issued.certificate_pem,
        key: issued.key_pem,
        authorities: None,
    };
    Ok((authority, contents))
}

/// A new certificate of the principal.
pub(super) fn issue(
    authority: &Authority,
    principal: Principal,
) -> Result<Contents, AuthorityError> {
    let issued = authority.issue(principal, &[], Validity::from_now(VALIDITY))?;
    Ok(Contents {
        certificate: issued.certificate_pem,
        key: issued.key_pem,
        authorities: Some(authority.certificate_pem().to_owned()),
    })
}

/// Whether a Secret's contents are what the principal needs, now and for a while.
pub(super) fn judge(
    contents: Option<&Contents>,
    principal: &Principal,
    authority: &Authority,
    now: SystemTime,
) -> Verdict {
    let Some(contents) = contents else {
        return Verdict::Replace("there was none");
    };
    let Some(subject) = subject_of(&contents.certificate) else {
        return Verdict::Replace("what was there is no certificate of a process");
    };
    let wanted = Identity {
        trust_domain: authority.trust_domain().clone(),
        principal: principal.clone(),
    };
    if subject.identity != wanted {
        return Verdict::Replace("the one that was there is somebody else's");
    }
    if contents.authorities.as_deref() != Some(authority.certificate_pem()) {
        return Verdict::Replace("there is another authority now");
    }
    if !lasts_until(&subject, now + RENEW_BEFORE) {
        return Verdict::Replace("the one that was there ends soon");
    }
    Verdict::Keep
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> Authority {
        let domain = "tidegate.test".parse().expect("it is a trust domain");
        new_authority(domain).expect("there is randomness").0
    }

    fn configd() -> Principal {
        "configd/configd".parse().expect("it is a principal")
    }

    fn judged(contents: &Contents, authority: &Authority, days_on: u32) -> Verdict {
        let now = SystemTime::now() + DAY * days_on;
        judge(Some(contents), &configd(), authority, now)
    }

    #[test]
    fn a_good_certificate_is_kept_until_a_third_of_its_time_is_left() {
        let authority = authority();
        let contents = issue(&authority, configd()).expect("issued");
        assert_eq!(judged(&contents, &authority, 0), Verdict::Keep);
        assert_eq!(judged(&contents, &authority, 59), Verdict::Keep);
        let late = judged(&contents, &authority, 61);
        assert_eq!(late, Verdict::Replace("the one that was there ends soon"));
    }

    #[test]
    fn an_empty_secret_is_filled() {
        assert!(Contents::of_secret(&Secret::default()).is_none());
        let verdict = judge(None, &configd(), &authority(), SystemTime::now());
        assert_eq!(verdict, Verdict::Replace("there was none"));
    }

    #[test]
    fn what_another_authority_signed_is_replaced() {
        let contents = issue(&authority(), configd()).expect("issued");
        let verdict = judged(&contents, &authority(), 0);
        assert_eq!(verdict, Verdict::Replace("there is another authority now"));
    }

    #[test]
    fn a_certificate_of_somebody_else_is_replaced() {
        let authority = authority();
        let other = "operator/kubernetes".parse().expect("it is a principal");
        let contents = issue(&authority, other).expect("issued");
        assert!(matches!(
            judged(&contents, &authority, 0),
            Verdict::Replace(_)
        ));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let authority = authority();
        let contents = issue(&authority, configd()).expect("issued");
        let secret = contents.patch(Some("7".to_owned()));
        assert_eq!(secret.metadata.resource_version.as_deref(), Some("7"));
        assert!(Contents::of_secret(&secret) == Some(contents));
    }

    #[test]
    fn an_authority_is_read_again_from_its_secret() {
        let domain = "tidegate.test".parse().expect("it is a trust domain");
        let (authority, contents) = new_authority(domain).expect("there is randomness");
        let read = Contents::of_secret(&contents.patch(None)).expect("it is whole");
        let read = read.authority().expect("it is an authority");
        assert_eq!(read.certificate_pem(), authority.certificate_pem());
    }
}

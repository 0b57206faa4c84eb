//! Certificates of workers: issued by the authority that the operator was given, kept in a Secret, renewed in time.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_runtime::identity::authority::{Authority, AuthorityError, Validity};
use tidegate_runtime::identity::{Identity, Principal};

use crate::leaf::{lasts_until, subject_of};

/// How long a certificate counts. Workers read a new one without a restart.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A certificate that counts for less is replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(10 * 24 * 3_600);

/// The certificate of a pool's workers, with its key; as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct WorkerIdentity {
    certificate: String,
    key: String,
    authorities: String,
}

/// Signs for workers.
#[derive(Debug)]
pub(crate) struct Issuer {
    authority: Authority,
    /// Whom workers believe, as PEM.
    authorities: String,
}

impl fmt::Debug for WorkerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerIdentity").finish_non_exhaustive()
    }
}

impl WorkerIdentity {
    #[cfg(test)]
    pub(super) fn of_texts(certificate: &str, key: &str, authorities: &str) -> Self {
        Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            authorities: authorities.to_owned(),
        }
    }

    /// The `data` of its Secret.
    pub(super) fn data(&self) -> Value {
        json!({
            "tls.crt": STANDARD.encode(&self.certificate),
            "tls.key": STANDARD.encode(&self.key),
            "ca.crt": STANDARD.encode(&self.authorities),
        })
    }

    /// Reads what [`Self::data`] wrote.
    fn of_secret(secret: &Value) -> Option<Self> {
        let text = |field: &str| {
            let encoded = secret["data"][field].as_str()?;
            String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
        };
        Some(Self {
            certificate: text("tls.crt")?,
            key: text("tls.key")?,
            authorities: text("ca.crt")?,
        })
    }
}

impl Issuer {
    /// The authority of two files, and the authorities that workers believe: those of a third one, or itself.
    ///
    /// # Errors
    /// The files must be those of an authority that `tidegate certs init` or the chart made.
    pub(crate) fn open(
        certificate: &Path,
        key: &Path,
        authorities: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))
        };
        let certificate_pem = read(certificate)?;
        let authority = Authority::from_pem(&certificate_pem, &read(key)?).with_context(|| {
            let (certificate, key) = (certificate.display(), key.display());
            format!("{certificate} and {key} are no authority")
        })?;
        let authorities = match authorities {
            Some(path) => read(path)?,
            None => certificate_pem,
        };
        Ok(Self {
            authority,
            authorities,
        })
    }

    /// The certificate for the workers of a pool: the one in the Secret while it is good, else a new one.
    ///
    /// # Errors
    /// When the pool's name cannot stand in a certificate, or the system has no randomness.
    pub(super) fn identity(
        &self,
        pool: &str,
        secret: Option<&Value>,
    ) -> Result<WorkerIdentity, AuthorityError> {
        let principal: Principal = format!("worker/{pool}").parse()?;
        let known = secret.and_then(WorkerIdentity::of_secret);
        if let Some(known) = known.filter(|known| self.is_good(known, &principal)) {
            return Ok(known);
        }
        let issued = self
            .authority
            .issue(principal, &[], Validity::from_now(VALIDITY))?;
        Ok(WorkerIdentity {
            certificate: issued.certificate_pem,
            key: issued.key_pem,
            authorities: self.authorities.clone(),
        })
    }

    fn is_good(&self, known: &WorkerIdentity, principal: &Principal) -> bool {
        let Some(subject) = subject_of(&known.certificate) else {
            return false;
        };
        let wanted = Identity {
            trust_domain: self.authority.trust_domain().clone(),
            principal: principal.clone(),
        };
        let lasts = lasts_until(&subject, SystemTime::now() + RENEW_BEFORE);
        subject.identity == wanted && lasts && known.authorities == self.authorities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        let domain = "tidegate.test".parse().expect("it is a trust domain");
        let (authority, _) =
            Authority::create(domain, Validity::from_now(VALIDITY)).expect("there is randomness");
        let authorities = authority.certificate_pem().to_owned();
        Issuer {
            authority,
            authorities,
        }
    }

    #[test]
    fn a_good_certificate_is_kept_and_any_other_is_replaced() {
        let issuer = issuer();
        let first = issuer.identity("infra/web", None).expect("issued");
        let secret = json!({"data": first.data()});
        let again = issuer.identity("infra/web", Some(&secret)).expect("kept");
        assert!(again == first);
        let of_other_pool = issuer.identity("infra/api", Some(&secret)).expect("issued");
        assert!(of_other_pool != first);
        let broken = json!({"data": {"tls.crt": "no", "tls.key": "no", "ca.crt": "no"}});
        assert!(issuer.identity("infra/web", Some(&broken)).is_ok());
        let other = self::issuer();
        let replaced = other.identity("infra/web", Some(&secret)).expect("issued");
        assert!(replaced.authorities != first.authorities);
    }
}

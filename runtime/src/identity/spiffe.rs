//! SPIFFE ids, as the SPIFFE-ID specification writes them, and those of them that are identities here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Principal;

/// Bytes of an id, at most.
const ID_LEN_MAX: usize = 2_048;
/// Bytes of a trust domain, at most.
const TRUST_DOMAIN_LEN_MAX: usize = 255;

/// Whose authorities signed a certificate: 1 to 255 of `a-z`, `0-9`, `.`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

/// A holder of a certificate; its text is `spiffe://TRUST-DOMAIN/ROLE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Whose authorities vouch for it.
    pub trust_domain: TrustDomain,
    /// What it is there.
    pub principal: Principal,
}

/// Why a text is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// It does not begin with the scheme, or is too long.
    #[error(
        "\"{0}\" is no SPIFFE id; one is spiffe://TRUST-DOMAIN/ROLE/NAME of at most 2,048 bytes"
    )]
    NoId(String),
    /// The trust domain has other characters.
    #[error("\"{0}\" is no trust domain; one has 1 to 255 of a-z, 0-9, \".\", \"-\" and \"_\"")]
    TrustDomain(String),
    /// A segment of the path is empty, a dot or two, or has other characters.
    #[error(
        "\"{0}\" cannot stand in a SPIFFE id; a name has letters, digits, \".\", \"-\" and \"_\""
    )]
    Segment(String),
    /// The path is none of those that [`Principal`] lists.
    #[error(
        "\"{0}\" names no role; there are configd/NODE, worker/POOL, worker/POOL/-/NAME, \
         operator/SOURCE and automation/ACCESS/NAME with read, write or admin as its access"
    )]
    Principal(String),
}

impl TrustDomain {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-_".contains(&c);
        let fits = (1..=TRUST_DOMAIN_LEN_MAX).contains(&text.len()) && text.bytes().all(allowed);
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(InvalidIdentity::TrustDomain(text.to_owned()))
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let no_id = || InvalidIdentity::NoId(text.to_owned());
        let rest = text.strip_prefix("spiffe://").ok_or_else(no_id)?;
        if text.len() > ID_LEN_MAX {
            return Err(no_id());
        }
        let (trust_domain, path) = rest.split_once('/').ok_or_else(no_id)?;
        Ok(Self {
            trust_domain: trust_domain.parse()?,
            principal: path.parse()?,
        })
    }
}

impl FromStr for Principal {
    type Err = InvalidIdentity;

    /// Reads the path of an id, without the slash before it.
    fn from_str(path: &str) -> Result<Self, Self::Err> {
        if let Some(segment) = path.split('/').find(|segment| !is_segment(segment)) {
            return Err(InvalidIdentity::Segment(segment.to_owned()));
        }
        Self::of_path(path).ok_or_else(|| InvalidIdentity::Principal(path.to_owned()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}", self.trust_domain, self.principal)
    }
}

fn is_segment(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b".-_".contains(&c);
    !matches!(text, "" | "." | "..") && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Access;

    fn principal(id: &str) -> Principal {
        let identity: Identity = id.parse().expect("it is an identity");
        assert_eq!(
            identity.to_string(),
            id,
            "an identity reads as it is written"
        );
        identity.principal
    }

    #[test]
    fn every_role_has_its_path() {
        let id = |path: &str| format!("spiffe://tidegate.example/{path}");
        assert_eq!(
            principal(&id("configd/n1")),
            Principal::Configd { node: "n1".into() }
        );
        assert_eq!(
            principal(&id("operator/eu-1")),
            Principal::Operator {
                source: "eu-1".into()
            }
        );
        assert_eq!(
            principal(&id("automation/write/ci")),
            Principal::Automation {
                access: Access::Write,
                name: "ci".into()
            }
        );
    }

    #[test]
    fn a_worker_is_of_a_pool_and_may_be_named() {
        let worker = |pool: &str, worker: Option<&str>| Principal::Worker {
            pool: pool.into(),
            worker: worker.map(Into::into),
        };
        assert_eq!(
            principal("spiffe://t/worker/shop/web"),
            worker("shop/web", None)
        );
        assert_eq!(
            principal("spiffe://t/worker/shop/web/-/w-1"),
            worker("shop/web", Some("w-1"))
        );
        assert!("spiffe://t/worker/-/w1".parse::<Identity>().is_err());
        assert!("spiffe://t/worker/a/-/b/-/c".parse::<Identity>().is_err());
    }

    #[test]
    fn what_the_specification_forbids_is_no_identity() {
        for id in [
            "https://t/configd/n1",
            "spiffe://T/configd/n1",
            "spiffe:///configd/n1",
            "spiffe://t",
            "spiffe://t/",
            "spiffe://t/configd",
            "spiffe://t/configd/",
            "spiffe://t/configd/a/b",
            "spiffe://t/configd//a",
            "spiffe://t/configd/..",
            "spiffe://t/configd/a%20b",
            "spiffe://t/configd/n1?x=y",
            "spiffe://t:80/configd/n1",
            "spiffe://user@t/configd/n1",
            "spiffe://t/automation/ci",
            "spiffe://t/automation/root/ci",
            "spiffe://t/gardener/g",
        ] {
            assert!(id.parse::<Identity>().is_err(), "{id}");
        }
        let long = format!("spiffe://t/configd/{}", "n".repeat(2_048));
        assert!(long.parse::<Identity>().is_err());
    }
}

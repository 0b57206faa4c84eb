//! Hostnames as Gateway API matches them: exact, `*.suffix`, or any.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A hostname pattern. Lower case, no trailing dot, no port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Hostname {
    /// Matches every host, also a missing one.
    Any,
    /// Holds the part behind the asterisk, with its dot: `.example.com`. Matches one or more labels to
    /// the left of it, never the suffix alone.
    Wildcard(Arc<str>),
    /// Matches one host.
    Exact(Arc<str>),
}

/// A text that is no hostname.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a hostname: {cause}")]
pub struct InvalidHostname {
    text: String,
    cause: &'static str,
}

impl Hostname {
    /// Reads `""`, `"*"`, `"*.example.com"` or `"www.example.com"`, in any case.
    ///
    /// # Errors
    /// Labels must have 1 to 63 letters, digits or hyphens, the whole at most 253 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidHostname> {
        let lower = text.to_ascii_lowercase();
        let invalid = |cause| InvalidHostname {
            text: text.to_owned(),
            cause,
        };
        if lower.is_empty() || lower == "*" {
            return Ok(Self::Any);
        }
        let (wildcard, rest) = match lower.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, lower.as_str()),
        };
        if rest.len() > 253 {
            return Err(invalid("it is longer than 253 bytes"));
        }
        if !rest.split('.').all(is_label) {
            return Err(invalid(
                "a label must have 1 to 63 letters, digits or inner hyphens",
            ));
        }
        Ok(if wildcard {
            Self::Wildcard(lower[1..].into())
        } else {
            Self::Exact(rest.into())
        })
    }

    /// Whether `host` (lower case, without port) falls under this pattern.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *host,
            Self::Wildcard(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }

    /// The hosts that fall under both patterns: always one of the two, or none.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, both) | (both, Self::Any) => Some(both.clone()),
            (Self::Exact(host), pattern) | (pattern, Self::Exact(host)) => {
                pattern.matches(host).then(|| Self::Exact(host.clone()))
            }
            (Self::Wildcard(a), Self::Wildcard(b)) => {
                let (longer, shorter) = if a.len() >= b.len() { (a, b) } else { (b, a) };
                longer
                    .ends_with(&**shorter)
                    .then(|| Self::Wildcard(longer.clone()))
            }
        }
    }

    /// Orders by how specific a pattern is, the most specific one being the greatest: exact before
    /// wildcard before any, longer before shorter (Gateway API, HTTPRoute `hostnames`).
    pub fn cmp_specificity(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }

    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Wildcard(suffix) => (1, suffix.len()),
            Self::Exact(host) => (2, host.len()),
        }
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Wildcard(suffix) => write!(f, "*{suffix}"),
            Self::Exact(host) => f.write_str(host),
        }
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialOrd for Hostname {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By text, for stable output; see [`Hostname::cmp_specificity`] for precedence.
impl Ord for Hostname {
    fn cmp(&self, other: &Self) -> Ordering {
        fn text(host: &Hostname) -> (u8, &str) {
            match host {
                Hostname::Any => (0, ""),
                Hostname::Wildcard(suffix) => (1, suffix),
                Hostname::Exact(exact) => (2, exact),
            }
        }
        text(self).cmp(&text(other))
    }
}

impl serde::Serialize for Hostname {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Hostname {
        Hostname::parse(text).expect("valid hostname")
    }

    #[test]
    fn a_wildcard_matches_many_labels_but_not_its_suffix() {
        let wildcard = host("*.example.com");
        assert!(wildcard.matches("a.example.com"));
        assert!(wildcard.matches("a.b.example.com"));
        assert!(!wildcard.matches("example.com"));
        assert!(!wildcard.matches("badexample.com"));
    }

    #[test]
    fn an_intersection_is_the_more_specific_of_the_two() {
        let cases = [
            ("", "a.example.com", Some("a.example.com")),
            ("*.example.com", "a.example.com", Some("a.example.com")),
            ("*.example.com", "*.b.example.com", Some("*.b.example.com")),
            ("*.example.com", "example.com", None),
            ("*.example.com", "*.example.org", None),
            ("a.example.com", "b.example.com", None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(
                host(a).intersect(&host(b)),
                expected.map(host),
                "{a} with {b}"
            );
            assert_eq!(
                host(b).intersect(&host(a)),
                expected.map(host),
                "{b} with {a}"
            );
        }
    }

    #[test]
    fn exact_is_more_specific_than_wildcard_and_longer_than_shorter() {
        let order = ["", "*.com", "*.example.com", "a.io", "a.example.com"];
        for pair in order.windows(2) {
            assert_eq!(
                host(pair[0]).cmp_specificity(&host(pair[1])),
                Ordering::Less,
                "{pair:?}"
            );
        }
    }

    #[test]
    fn case_does_not_matter_and_bad_labels_are_refused() {
        assert_eq!(host("WWW.Example.COM"), host("www.example.com"));
        for bad in [
            "a..b", "-a.com", "a_b.com", "*a.com", "a.*.com", "a.com.", "a:80",
        ] {
            assert!(Hostname::parse(bad).is_err(), "{bad}");
        }
    }
}

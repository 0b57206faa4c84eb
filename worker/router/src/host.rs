//! Lookup by hostname: exact, longest wildcard, any.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_ir::Hostname;

/// Values by hostname pattern, found from the most specific pattern to the least.
#[derive(Debug, Clone)]
pub struct HostMap<T> {
    exact: HashMap<Arc<str>, T>,
    /// By the part behind the asterisk, with its dot.
    wildcard: HashMap<Arc<str>, T>,
    any: Option<T>,
}

impl<T> HostMap<T> {
    /// One value per pattern.
    pub fn new(values: BTreeMap<Hostname, T>) -> Self {
        let mut map = Self::default();
        for (host, value) in values {
            match host {
                Hostname::Any => map.any = Some(value),
                Hostname::Wildcard(suffix) => {
                    map.wildcard.insert(suffix, value);
                }
                Hostname::Exact(host) => {
                    map.exact.insert(host, value);
                }
            }
        }
        map
    }

    /// The values whose patterns match `host`, most specific first. `host` is as [`host_of`] returns it.
    pub fn matching<'t>(&'t self, host: &str) -> impl Iterator<Item = &'t T> {
        let exact = self.exact.get(host);
        let wildcards = suffixes(host).filter_map(|suffix| self.wildcard.get(suffix));
        exact.into_iter().chain(wildcards).chain(self.any.as_ref())
    }

    /// Gives exactly that pattern a value, or none.
    pub(crate) fn set(&mut self, host: &Hostname, value: Option<T>) {
        let (values, name) = match host {
            Hostname::Any => {
                self.any = value;
                return;
            }
            Hostname::Wildcard(suffix) => (&mut self.wildcard, suffix),
            Hostname::Exact(host) => (&mut self.exact, host),
        };
        match value {
            Some(value) => drop(values.insert(name.clone(), value)),
            None => drop(values.remove(name)),
        }
    }

    /// The value of exactly that pattern.
    pub fn get(&self, host: &Hostname) -> Option<&T> {
        match host {
            Hostname::Any => self.any.as_ref(),
            Hostname::Wildcard(suffix) => self.wildcard.get(suffix),
            Hostname::Exact(host) => self.exact.get(host),
        }
    }
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            any: None,
        }
    }
}

/// The longest hostname (RFC 1035, section 2.3.4), in bytes; no pattern but any matches a longer one.
const HOST_BYTES_MAX: usize = 253;

/// The parts of a host from each of its dots on, longest first, without the host itself.
fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    // A client chooses the host: thousands of dots must not become thousands of lookups.
    let host = if host.len() <= HOST_BYTES_MAX {
        host
    } else {
        ""
    };
    host.match_indices('.')
        .filter(|(at, _)| *at > 0)
        .map(|(at, _)| &host[at..])
}

/// The host of a `Host` header or `:authority`: lower case, without port and without a final dot.
pub fn host_of(authority: &str) -> Cow<'_, str> {
    let without_port = match authority.rfind(':') {
        // The colons inside of an IPv6 literal are not the port's.
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    };
    let host = without_port.strip_suffix('.').unwrap_or(without_port);
    lower_case(host)
}

/// A host in lower case, as patterns are.
pub(crate) fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(host.to_ascii_lowercase());
    }
    Cow::Borrowed(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_case_and_final_dot_do_not_matter() {
        for (authority, host) in [
            ("Shop.Example.com:8080", "shop.example.com"),
            ("shop.example.com.", "shop.example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), host, "{authority}");
        }
    }

    #[test]
    fn the_most_specific_pattern_comes_first() {
        let patterns = ["", "*.com", "*.example.com", "a.example.com", "*.org"];
        let values = patterns.map(|text| (Hostname::parse(text).expect("valid"), text));
        let map = HostMap::new(values.into_iter().collect());
        let found: Vec<_> = map.matching("a.example.com").copied().collect();
        assert_eq!(found, ["a.example.com", "*.example.com", "*.com", ""]);
        assert_eq!(
            map.matching("example.com").copied().collect::<Vec<_>>(),
            ["*.com", ""]
        );
        assert_eq!(map.matching("").copied().collect::<Vec<_>>(), [""]);
        let long = format!("{}com", "a.".repeat(1000));
        assert_eq!(map.matching(&long).copied().collect::<Vec<_>>(), [""]);
    }
}

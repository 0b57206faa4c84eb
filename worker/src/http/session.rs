//! Sessions: a client stays at the endpoint that served it first (GEP-1619).
//!
//! What the client carries names an endpoint of each backend that it has met, and when that began. It is
//! looked up among the endpoints that the backend has now, so it leads nowhere else, whoever wrote it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tidegate_ir::{SessionCarrier, SessionPersistence};

use crate::upstream::{Endpoint, Upstream};

/// Backends whose endpoints a client carries; above, the one that it met first is forgotten.
const ENTRIES_MAX: usize = 8;

/// How far in the future a session may have begun: clocks differ.
const CLOCK_SKEW_MS: u64 = 60_000;

/// The session of one request with one backend.
#[derive(Debug)]
pub(crate) struct Session<'s> {
    terms: &'s SessionPersistence,
    pinned: Option<Arc<Endpoint>>,
    /// What the client carries for other backends.
    others: Vec<Entry>,
    now_ms: u64,
}

/// An endpoint that a client has met.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    token: Box<str>,
    /// Milliseconds since 1970-01-01 UTC.
    begun_ms: u64,
}

impl<'s> Session<'s> {
    /// Reads what the client carries; `shared` says that other backends use the same carrier.
    pub(crate) fn of(
        terms: &'s SessionPersistence,
        upstream: &Upstream,
        headers: &HeaderMap,
        shared: bool,
    ) -> Self {
        let now_ms = now_ms();
        let is_valid = |entry: &Entry| entry.is_valid(terms.absolute_timeout_ms, now_ms);
        let (mut pinned, mut others) = (None, Vec::new());
        for entry in carried(terms, headers)
            .filter(is_valid)
            .take(4 * ENTRIES_MAX)
        {
            match upstream.by_token(&entry.token) {
                Some(endpoint) => drop(pinned.get_or_insert(endpoint)),
                None if shared && !others.contains(&entry) => others.push(entry),
                None => {}
            }
        }
        let surplus = (others.len() + 1).saturating_sub(ENTRIES_MAX);
        others.drain(..surplus);
        Self {
            terms,
            pinned,
            others,
            now_ms,
        }
    }

    /// The endpoint that the client is to reach again.
    pub(crate) fn pinned(&self) -> Option<Arc<Endpoint>> {
        self.pinned.clone()
    }

    /// Tells the client which endpoint has served it, where that is news.
    pub(crate) fn tell(
        &self,
        upstream: &Upstream,
        address: SocketAddr,
        tls: bool,
        headers: &mut HeaderMap,
    ) {
        if self
            .pinned
            .as_ref()
            .is_some_and(|pinned| pinned.address == address)
        {
            return;
        }
        let entry = Entry {
            token: upstream.token_of(address),
            begun_ms: self.now_ms,
        };
        let entries = self.others.iter().chain([&entry]).map(Entry::text);
        let value = entries.collect::<Vec<_>>().join(".");
        match self.terms.carrier {
            SessionCarrier::Header => {
                let name = HeaderName::try_from(&*self.terms.name);
                if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                    headers.insert(name, value);
                }
            }
            SessionCarrier::SessionCookie | SessionCarrier::PermanentCookie => {
                if let Ok(cookie) = HeaderValue::try_from(self.cookie(&value, tls)) {
                    headers.append(header::SET_COOKIE, cookie);
                }
            }
        }
    }

    fn cookie(&self, value: &str, tls: bool) -> String {
        let SessionPersistence { name, path, .. } = self.terms;
        let mut cookie = format!("{name}={value}; Path={path}; HttpOnly; SameSite=Strict");
        if tls {
            cookie.push_str("; Secure");
        }
        if self.terms.carrier == SessionCarrier::PermanentCookie
            && let Some(timeout_ms) = self.terms.absolute_timeout_ms
        {
            cookie.push_str(&format!("; Max-Age={}", timeout_ms.div_ceil(1000)));
        }
        cookie
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let (token, begun) = text.split_once('-')?;
        Some(Self {
            token: token.into(),
            begun_ms: u64::from_str_radix(begun, 16).ok()?,
        })
    }

    fn text(&self) -> String {
        format!("{}-{:x}", self.token, self.begun_ms)
    }

    fn is_valid(&self, absolute_timeout_ms: Option<u64>, now_ms: u64) -> bool {
        let is_token = self.token.len() == 32 && self.token.bytes().all(|b| b.is_ascii_hexdigit());
        let age_ms = now_ms.saturating_sub(self.begun_ms);
        is_token
            && self.begun_ms <= now_ms.saturating_add(CLOCK_SKEW_MS)
            && absolute_timeout_ms.is_none_or(|timeout_ms| age_ms < timeout_ms)
    }
}

/// What the client carries, in the order in which it says it.
fn carried<'h>(
    terms: &'h SessionPersistence,
    headers: &'h HeaderMap,
) -> impl Iterator<Item = Entry> + 'h {
    let is_header = terms.carrier == SessionCarrier::Header;
    let name = if is_header { &*terms.name } else { "cookie" };
    let lines = headers.get_all(name).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let values = lines.flat_map(move |line| {
        let pairs = line.split(if is_header { ',' } else { ';' });
        pairs.filter_map(move |pair| value_of(pair, &terms.name, is_header))
    });
    values
        .flat_map(|value| value.split('.'))
        .filter_map(Entry::parse)
}

fn value_of<'v>(pair: &'v str, name: &str, is_header: bool) -> Option<&'v str> {
    if is_header {
        return Some(pair.trim());
    }
    let (key, value) = pair.trim().split_once('=')?;
    (key == name).then_some(value)
}

fn now_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(begun_ms: u64) -> Entry {
        Entry {
            token: "0123456789abcdef0123456789abcdef".into(),
            begun_ms,
        }
    }

    #[test]
    fn entries_survive_the_way_through_a_client() {
        let entry = entry(1_700_000_000_123);
        assert_eq!(Entry::parse(&entry.text()), Some(entry));
        assert_eq!(Entry::parse("10.0.0.1:80"), None);
        assert_eq!(Entry::parse("token-notahexnumber"), None);
    }

    #[test]
    fn a_session_ends_after_its_timeout_and_cannot_begin_in_the_future() {
        let now_ms = 1_000_000;
        assert!(entry(now_ms - 999).is_valid(Some(1000), now_ms));
        assert!(!entry(now_ms - 1000).is_valid(Some(1000), now_ms));
        assert!(entry(0).is_valid(None, now_ms));
        assert!(entry(now_ms + CLOCK_SKEW_MS).is_valid(Some(1000), now_ms));
        assert!(!entry(now_ms + CLOCK_SKEW_MS + 1).is_valid(None, now_ms));
    }

    #[test]
    fn all_cookies_of_the_name_are_read_and_no_others() {
        let terms = SessionPersistence {
            name: "s".into(),
            carrier: SessionCarrier::SessionCookie,
            absolute_timeout_ms: None,
            path: "/".into(),
        };
        let mut headers = HeaderMap::new();
        let lines = ["a=b; s=11-1.22-2; xs=33-3", "s=44-4;s=; s=junk", "t=s=55-5"];
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        let begun: Vec<u64> = carried(&terms, &headers)
            .map(|entry| entry.begun_ms)
            .collect();
        assert_eq!(begun, [1, 2, 4]);
    }

    #[test]
    fn a_cookie_is_secure_over_tls_and_lasts_where_it_is_permanent() {
        let terms = SessionPersistence {
            name: "s".into(),
            carrier: SessionCarrier::PermanentCookie,
            absolute_timeout_ms: Some(1500),
            path: "/x".into(),
        };
        let session = Session {
            terms: &terms,
            pinned: None,
            others: vec![],
            now_ms: 0,
        };
        let plain = "s=v; Path=/x; HttpOnly; SameSite=Strict; Max-Age=2";
        assert_eq!(session.cookie("v", false), plain);
        let secure = "s=v; Path=/x; HttpOnly; SameSite=Strict; Secure; Max-Age=2";
        assert_eq!(session.cookie("v", true), secure);
    }
}

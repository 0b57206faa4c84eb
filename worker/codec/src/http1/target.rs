//! A request's target in its four forms, and the host that it is for (RFC 9112, section 3.2).

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri, Version};

use crate::Refusal;

/// Reads a target; bytes that a URI has no place for are percent-encoded.
pub(super) fn parse(method: &Method, target: Bytes) -> Result<Uri, Refusal> {
    let is_visible = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#' || *byte >= 0x80;
    if !target.iter().all(is_visible) {
        return Err(Refusal::Target);
    }
    if method == Method::CONNECT {
        return authority_form(target);
    }
    match target.first() {
        Some(b'/') => path_and_query(target).map(Uri::from),
        Some(b'*') if target.len() == 1 && method == Method::OPTIONS => Ok(Uri::from_static("*")),
        _ => absolute_form(&target),
    }
}

/// Checks the one host: in the target where that has one, but a header must be there all the same.
pub(super) fn check_host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (Some(host), None) if uri.authority().is_some() || is_host(host.as_bytes()) => Ok(()),
        _ => Err(Refusal::Host),
    }
}

/// Whether this is a host with an optional port: a name of letters, digits and `-._~`, or an address.
///
/// What RFC 3986 allows beyond that in a name is no host that anybody serves, and splits up lists.
#[must_use]
pub fn is_host(host: &[u8]) -> bool {
    let is_port = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    if let Some(literal) = host.strip_prefix(b"[") {
        let Some(len) = literal.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let is_literal = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        let rest = &literal[len + 1..];
        let has_port = rest.strip_prefix(b":").is_some_and(is_port);
        return len > 1 && literal[..len].iter().all(is_literal) && (rest.is_empty() || has_port);
    }
    let mut parts = host.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    let is_name =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    !name.is_empty() && name.iter().all(is_name) && parts.next().is_none_or(is_port)
}

fn authority_form(target: Bytes) -> Result<Uri, Refusal> {
    if !is_host(&target) || !target.contains(&b':') {
        return Err(Refusal::Target);
    }
    let authority = Authority::from_maybe_shared(target).map_err(|_| Refusal::Target)?;
    Ok(Uri::from(authority))
}

fn absolute_form(target: &Bytes) -> Result<Uri, Refusal> {
    let (scheme, len) = [(Scheme::HTTP, "http://"), (Scheme::HTTPS, "https://")]
        .into_iter()
        .find(|(_, text)| {
            target
                .get(..text.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes()))
        })
        .map(|(scheme, text)| (scheme, text.len()))
        .ok_or(Refusal::Target)?;
    let rest = &target[len..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    if !is_host(&rest[..end]) {
        return Err(Refusal::Target);
    }
    let authority = Authority::from_maybe_shared(target.slice(len..len + end));
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority.map_err(|_| Refusal::Target)?);
    parts.path_and_query = Some(match rest.get(end) {
        Some(b'/') => path_and_query(target.slice(len + end..))?,
        Some(_) => path_and_query([b"/", &rest[end..]].concat().into())?,
        None => PathAndQuery::from_static("/"),
    });
    Uri::from_parts(parts).map_err(|_| Refusal::Target)
}

fn path_and_query(text: Bytes) -> Result<PathAndQuery, Refusal> {
    let text = if text.iter().any(|byte| needs_code(*byte)) {
        encode(&text).into()
    } else {
        text
    };
    PathAndQuery::from_maybe_shared(text).map_err(|_| Refusal::Target)
}

fn needs_code(byte: u8) -> bool {
    byte >= 0x80 || matches!(byte, b'"' | b'<' | b'>' | b'`')
}

fn encode(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text {
        if needs_code(*byte) {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        } else {
            encoded.push(char::from(*byte));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, target: &str) -> Result<String, Refusal> {
        parse(&method, Bytes::copy_from_slice(target.as_bytes())).map(|uri| uri.to_string())
    }

    #[test]
    fn each_form_has_its_methods() {
        assert_eq!(read(Method::GET, "/a?b").as_deref(), Ok("/a?b"));
        assert_eq!(
            read(Method::GET, "HTTP://x:1/a").as_deref(),
            Ok("http://x:1/a")
        );
        assert_eq!(
            read(Method::GET, "http://x?q").as_deref(),
            Ok("http://x/?q")
        );
        assert_eq!(read(Method::OPTIONS, "*").as_deref(), Ok("*"));
        assert_eq!(read(Method::CONNECT, "x:443").as_deref(), Ok("x:443"));
        for (method, target) in [
            (Method::GET, "*"),
            (Method::GET, "x:443"),
            (Method::GET, "a/b"),
            (Method::GET, "/a#b"),
            (Method::GET, "ftp://x/"),
            (Method::GET, "http:///a"),
            (Method::GET, "http://u@x/"),
            (Method::CONNECT, "/"),
            (Method::CONNECT, "x"),
        ] {
            assert_eq!(read(method, target), Err(Refusal::Target), "{target}");
        }
    }

    #[test]
    fn bytes_without_a_place_in_a_uri_are_encoded() {
        assert_eq!(
            read(Method::GET, "/ä`?\"<>").as_deref(),
            Ok("/%C3%A4%60?%22%3C%3E")
        );
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for host in [
            "x",
            "a.b_c-d~",
            "x:",
            "x:80",
            "1.2.3.4:1",
            "[::1]",
            "[::1]:80",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "a,b", "a b", "a/b", "u@x", "x:8a", "x:123456", "x:1:2", "[]", "[::1",
            "[::1]x", "[x]", "a%2e",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}

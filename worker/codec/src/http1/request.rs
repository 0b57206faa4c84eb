//! A request's head: its request line, its fields, and what they say about the connection.

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Request, Version};

use super::{Framing, fields, names_token, target};
use crate::Refusal;

/// A request without its body, and how the connection goes on.
#[derive(Debug)]
pub struct RequestHead {
    /// The target is `*`, a path with query, or, where the client sent an absolute one or CONNECT, has an
    /// authority.
    pub request: Request<()>,
    /// How the body is framed.
    pub framing: Framing,
    /// Whether the client wants to send another request by this connection (RFC 9112, section 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for 100 before it sends the body (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
    /// Whether the client asks to leave HTTP; such a request has no body.
    pub upgrades: bool,
}

/// Reads a whole head, as [`super::HeadScan`] found it.
///
/// # Errors
/// When anything in it is not by the grammar, or could be read in two ways.
pub fn parse(head: Bytes) -> Result<RequestHead, Refusal> {
    let start = if head.starts_with(b"\r\n") { 2 } else { 0 };
    let line_len = memchr::memchr(b'\n', &head[start..]).ok_or(Refusal::RequestLine)?;
    let line = head.slice(start..start + line_len);
    let line = line.strip_suffix(b"\r").ok_or(Refusal::BareLineFeed)?;
    let (method, target, version) = request_line(line)?;
    let mut headers = HeaderMap::with_capacity(16);
    let end = head.len().checked_sub(2).ok_or(Refusal::BareLineFeed)?;
    fields::parse(&head.slice(start + line_len + 1..end), &mut headers)?;
    let framing = Framing::of_request(version, &headers)?;
    let mut request = Request::new(());
    *request.uri_mut() = target::parse(&method, head.slice_ref(target))?;
    target::check_host(version, request.uri(), &headers)?;
    let is_11 = version == Version::HTTP_11;
    let expects_continue = is_11 && expects_continue(&headers)?;
    let head = RequestHead {
        keep_alive: keep_alive(version, &headers),
        expects_continue: expects_continue && framing != Framing::None,
        upgrades: is_11
            && framing == Framing::None
            && headers.contains_key(header::UPGRADE)
            && names_token(&headers, header::CONNECTION, "upgrade"),
        framing,
        request: {
            *request.method_mut() = method;
            *request.version_mut() = version;
            *request.headers_mut() = headers;
            request
        },
    };
    Ok(head)
}

fn request_line(line: &[u8]) -> Result<(Method, &[u8], Version), Refusal> {
    if line.contains(&b'\r') {
        return Err(Refusal::BareCarriageReturn);
    }
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::RequestLine);
    };
    let method = Method::from_bytes(method).map_err(|_| Refusal::RequestLine)?;
    Ok((method, target, read_version(version)?))
}

/// A higher minor version than 1 speaks 1.1 with us (RFC 9110, section 2.5).
pub(super) fn read_version(version: &[u8]) -> Result<Version, Refusal> {
    let digits = version.strip_prefix(b"HTTP/").ok_or(Refusal::RequestLine)?;
    match digits {
        b"1.1" => Ok(Version::HTTP_11),
        b"1.0" => Ok(Version::HTTP_10),
        [b'1', b'.', b'2'..=b'9'] => Ok(Version::HTTP_11),
        [b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Refusal::Version),
        _ => Err(Refusal::RequestLine),
    }
}

pub(super) fn keep_alive(version: Version, headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::CONNECTION) {
        return version == Version::HTTP_11;
    }
    let asked =
        version == Version::HTTP_11 || names_token(headers, header::CONNECTION, "keep-alive");
    asked && !names_token(headers, header::CONNECTION, "close")
}

fn expects_continue(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Refusal::Expectation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RequestHead, Refusal> {
        parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_head_is_read_whole() {
        let head = read(
            "\r\nPUT /a?b HTTP/1.1\r\nHost: x.io\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n",
        );
        let head = head.expect("it is valid");
        assert_eq!(head.request.method(), Method::PUT);
        assert_eq!(head.request.uri(), "/a?b");
        assert_eq!(head.request.headers()["host"], "x.io");
        assert_eq!(head.framing, Framing::Length(3));
        assert!(head.keep_alive && head.expects_continue && !head.upgrades);
    }

    #[test]
    fn a_request_line_has_three_parts_and_two_spaces() {
        for (line, refusal) in [
            ("GET  / HTTP/1.1", Refusal::RequestLine),
            (" GET / HTTP/1.1", Refusal::RequestLine),
            ("GET / HTTP/1.1 ", Refusal::RequestLine),
            ("GET /\tHTTP/1.1", Refusal::RequestLine),
            ("GET /", Refusal::RequestLine),
            ("G@T / HTTP/1.1", Refusal::RequestLine),
            ("GET / http/1.1", Refusal::RequestLine),
            ("GET / HTTP/01.1", Refusal::RequestLine),
            ("GET / HTTP/2.0", Refusal::Version),
            ("GET /\r HTTP/1.1", Refusal::BareCarriageReturn),
        ] {
            let head = read(&format!("{line}\r\nHost: x\r\n\r\n"));
            assert_eq!(head.expect_err(line), refusal, "{line:?}");
        }
        assert!(read("GET / HTTP/1.7\r\nHost: x\r\n\r\n").is_ok());
    }

    #[test]
    fn the_version_and_connection_say_whether_another_request_may_come() {
        let keeps = |version: &str, connection: &str| {
            let head = read(&format!(
                "GET / HTTP/{version}\r\nHost: x\r\n{connection}\r\n"
            ));
            head.expect("it is valid").keep_alive
        };
        assert!(keeps("1.1", ""));
        assert!(!keeps("1.1", "Connection: TE, Close\r\n"));
        assert!(!keeps("1.0", ""));
        assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
        assert!(!keeps("1.0", "Connection: keep-alive, close\r\n"));
    }

    #[test]
    fn an_unknown_expectation_is_refused() {
        let head = read("GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n");
        assert_eq!(head.expect_err("it is unknown"), Refusal::Expectation);
    }
}

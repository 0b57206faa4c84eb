//! An answer's head: its status line, its fields, and what they say about the connection.

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode, Version};

use super::{Framed, fields, framing, request};
use crate::Fault;

/// Fields for which there is room from the beginning.
const FIELDS: usize = 16;

/// An answer without its body, and how the connection goes on.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status is any from 100 to 999; the reason phrase is dropped.
    pub response: Response<()>,
    /// Where the body ends. An interim answer has none, and another answer follows it.
    pub framed: Framed,
    /// Whether the backend takes another request by this connection, as far as the head tells (RFC 9112,
    /// section 9.3).
    pub keep_alive: bool,
}

/// Reads a whole head, as [`super::HeadScan::of_answer`] found it. `to_head`: the request was HEAD.
///
/// # Errors
/// When anything in it is not by the grammar, or could be read in two ways.
pub fn parse_response(head: &Bytes, to_head: bool) -> Result<ResponseHead, Fault> {
    let line_len = memchr::memchr(b'\n', head).ok_or(Fault::StatusLine)?;
    let line = head[..line_len].strip_suffix(b"\r").ok_or(Fault::Line)?;
    let (version, status) = status_line(line)?;
    let end = head.len().checked_sub(2).ok_or(Fault::Line)?;
    let mut headers = HeaderMap::with_capacity(FIELDS);
    fields::parse(&head.slice(line_len + 1..end), &mut headers)?;
    let has_length = headers.contains_key(header::CONTENT_LENGTH);
    let keep_alive = request::keep_alive(version, &headers);
    let framed = framing::of_answer(status, version, to_head, &mut headers)?;
    // Whoever sends both may mean another end than we do (RFC 9112, section 6.1).
    let is_certain = framed != Framed::Close && !(framed == Framed::Chunked && has_length);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    Ok(ResponseHead {
        response,
        framed,
        keep_alive: keep_alive && is_certain,
    })
}

/// `version SP status [SP reason]` (RFC 9112, section 4); servers exist that leave the last space out.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode), Fault> {
    let (version, rest) = line.split_at_checked(8).ok_or(Fault::StatusLine)?;
    let version = request::read_version(version)?;
    let [b' ', status @ ..] = rest else {
        return Err(Fault::StatusLine);
    };
    let (status, reason) = status.split_at_checked(3).ok_or(Fault::StatusLine)?;
    let status = StatusCode::from_bytes(status).map_err(|_| Fault::StatusLine)?;
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F);
    let is_reason = reason.is_empty() || (reason[0] == b' ' && reason.iter().all(is_text));
    if is_reason {
        Ok((version, status))
    } else {
        Err(Fault::StatusLine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ResponseHead, Fault> {
        parse_response(&Bytes::copy_from_slice(text.as_bytes()), false)
    }

    fn with(fields: &str) -> Result<ResponseHead, Fault> {
        read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))
    }

    #[test]
    fn a_status_line_has_a_version_and_three_digits() {
        for line in [
            "HTTP/1.1 200 OK",
            "HTTP/1.1 200 ",
            "HTTP/1.1 200",
            "HTTP/1.0 999 \u{e4}\t!",
            "HTTP/1.9 404 Not Found",
        ] {
            assert!(read(&format!("{line}\r\n\r\n")).is_ok(), "{line:?}");
        }
        for (line, fault) in [
            ("", Fault::StatusLine),
            ("HTTP/1.1", Fault::StatusLine),
            ("HTTP/1.1 ", Fault::StatusLine),
            ("HTTP/1.1  200 OK", Fault::StatusLine),
            (" HTTP/1.1 200 OK", Fault::StatusLine),
            ("HTTP/1.1 20 OK", Fault::StatusLine),
            ("HTTP/1.1 2000 OK", Fault::StatusLine),
            ("HTTP/1.1 099 OK", Fault::StatusLine),
            ("HTTP/1.1 +20 OK", Fault::StatusLine),
            ("HTTP/1.1 200OK", Fault::StatusLine),
            ("HTTP/1.1 200\tOK", Fault::StatusLine),
            ("HTTP/1.1 200 a\u{0}b", Fault::StatusLine),
            ("HTTP/1.1 200 a\rb", Fault::StatusLine),
            ("http/1.1 200 OK", Fault::StatusLine),
            ("ICY 200 OK", Fault::StatusLine),
            ("HTTP/2.0 200 OK", Fault::Version),
            ("HTTP/0.9 200 OK", Fault::Version),
        ] {
            let head = read(&format!("{line}\r\n\r\n"));
            assert_eq!(head.expect_err(line), fault, "{line:?}");
        }
    }

    #[test]
    fn one_length_or_one_coding_or_the_connections_end_ends_a_body() {
        for (fields, framed) in [
            ("", Framed::Close),
            ("Content-Length: 0\r\n", Framed::Length(0)),
            ("Content-Length: 5\r\n", Framed::Length(5)),
            ("Content-Length: 5, 5\r\n", Framed::Length(5)),
            (
                "Content-Length: 5\r\ncontent-length: 05\r\n",
                Framed::Length(5),
            ),
            ("Transfer-Encoding: Chunked\r\n", Framed::Chunked),
        ] {
            assert_eq!(with(fields).expect(fields).framed, framed);
        }
        for fields in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 05\r\n",
        ] {
            let head = with(fields).expect("it is valid");
            let lengths = head.response.headers().get_all("content-length").iter();
            assert_eq!(lengths.collect::<Vec<_>>(), ["5"], "{fields}");
        }
    }

    #[test]
    fn a_body_without_a_certain_end_is_a_fault() {
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: 5,\r\n",
            "Content-Length:\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: 9223372036854775808\r\n",
        ] {
            assert_eq!(with(fields).expect_err(fields), Fault::ContentLength);
        }
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "", "identity"] {
            let fields = format!("Transfer-Encoding: {coding}\r\n");
            assert_eq!(with(&fields).expect_err(coding), Fault::TransferCoding);
        }
        let old = read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old.expect_err("it is old"), Fault::TransferCoding);
    }

    #[test]
    fn chunks_count_more_than_a_length_which_is_dropped_and_ends_the_connection() {
        let head = with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n");
        let head = head.expect("it is valid");
        assert_eq!(head.framed, Framed::Chunked);
        assert!(!head.keep_alive);
        assert!(!head.response.headers().contains_key("content-length"));
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        let fields = "Content-Length: 5\r\n\r\n";
        for (status, framed, keeps_length) in [
            ("100", Framed::Bodiless, false),
            ("101", Framed::Switched, false),
            ("103", Framed::Bodiless, false),
            ("204", Framed::Bodiless, false),
            ("304", Framed::Bodiless, true),
        ] {
            let head = read(&format!("HTTP/1.1 {status} X\r\n{fields}")).expect(status);
            let has_length = head.response.headers().contains_key("content-length");
            assert_eq!(
                (head.framed, has_length),
                (framed, keeps_length),
                "{status}"
            );
        }
        let text = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        let head = parse_response(&text, true).expect("it is valid");
        assert_eq!(head.framed, Framed::Bodiless);
        assert_eq!(head.response.headers()["content-length"], "5");
    }

    #[test]
    fn what_is_no_field_is_a_fault() {
        for (field, fault) in [
            ("a : b\r\n", Fault::HeaderName),
            (": b\r\n", Fault::HeaderName),
            ("a\r\n", Fault::HeaderName),
            ("a: b\r\n c\r\n", Fault::Line),
            ("a: b\rc: d\r\n", Fault::Line),
            ("a: b\u{0}c\r\n", Fault::HeaderValue),
        ] {
            assert_eq!(with(field).expect_err(field), fault);
        }
    }

    #[test]
    fn the_version_connection_and_framing_say_whether_another_request_may_follow() {
        for (text, keeps) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", true),
            ("HTTP/1.1 204 X\r\n", true),
            ("HTTP/1.1 200 OK\r\n", false),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n",
                false,
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", false),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n",
                true,
            ),
        ] {
            assert_eq!(
                read(&format!("{text}\r\n")).expect(text).keep_alive,
                keeps,
                "{text}"
            );
        }
    }
}

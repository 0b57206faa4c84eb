//! What is written reads the same, and what would read as something else is not written.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::http1::{HeadBounds, HeadScan, parse, parse_response};

const BOUNDS: HeadBounds = HeadBounds {
    first_line_bytes_max: 1 << 10,
    header_bytes_max: 16 << 10,
    header_count_max: 64,
};

fn write(target: &str, headers: &HeaderMap, framing: Framing) -> Result<String, Refusal> {
    let mut output = BytesMut::from("before ");
    let target = PathAndQuery::try_from(target).expect("a target");
    let written = request_head(&mut output, &Method::POST, &target, headers, framing);
    let text = String::from_utf8(output.to_vec()).expect("it is text");
    let head = text.strip_prefix("before ").expect("it stays").to_owned();
    assert!(written.is_ok() || head.is_empty());
    written.map(|()| head)
}

#[test]
fn a_request_is_framed_by_its_body_and_not_by_its_headers() {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("h"));
    headers.insert("transfer-encoding", HeaderValue::from_static("gzip"));
    for (framing, fields) in [
        (Framing::None, ""),
        (Framing::Length(3), "content-length: 3\r\n"),
        (Framing::Chunked, "transfer-encoding: chunked\r\n"),
    ] {
        let head = write("/a?b", &headers, framing).expect("it is sound");
        assert_eq!(
            head,
            format!("POST /a?b HTTP/1.1\r\nhost: h\r\n{fields}\r\n")
        );
    }
    headers.insert("content-length", HeaderValue::from_static("7"));
    let head = write("/", &headers, Framing::None).expect("it is sound");
    assert_eq!(
        head,
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn a_target_above_ascii_gets_percent_signs() {
    let head = write("/\u{e4}?q", &HeaderMap::new(), Framing::None).expect("it is sound");
    assert_eq!(head, "POST /%C3%A4?q HTTP/1.1\r\n\r\n");
}

#[test]
fn what_would_break_a_line_is_not_written() {
    let written = |name: &str, value: &[u8]| {
        let mut output = BytesMut::new();
        let written = field(&mut output, name, value);
        assert_eq!(written.is_ok(), !output.is_empty());
        written
    };
    assert_eq!(written("a", b"b\t\xff c"), Ok(()));
    for value in [&b"a\r\nb: c"[..], b"\n", b"\r", b"a\0", b"\x7f", b"\x0b"] {
        assert_eq!(written("a", value), Err(Refusal::HeaderValue), "{value:?}");
    }
    for name in ["", "a\r\nb", "a:", "a b", "a\0", "a\n", "\u{e4}"] {
        assert_eq!(written(name, b"b"), Err(Refusal::HeaderName), "{name:?}");
    }
    for target in ["/a b", "/a\r\n", "/\n", "/\0", "/\x7f", "/\t"] {
        let written = put_target(&mut BytesMut::new(), target.as_bytes());
        assert_eq!(written, Err(Refusal::Target), "{target:?}");
    }
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let field = (
        "x-[a-z0-9!#$%&'*+.^_`|~-]{1,12}",
        "([!-~\u{e4}]([ -~\t]{0,20}[!-~])?)?",
    );
    prop::collection::vec(field, 0..8).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("h.test"));
        for (name, value) in fields {
            let name = HeaderName::try_from(name).expect("a token");
            headers.append(name, HeaderValue::try_from(value).expect("a value"));
        }
        headers
    })
}

fn split(head: &[u8], mut scan: HeadScan) -> Bytes {
    assert_eq!(scan.end(head, &BOUNDS), Ok(Some(head.len())));
    Bytes::copy_from_slice(head)
}

proptest! {
    #[test]
    fn a_request_that_was_written_reads_the_same(
        method in "[A-Z]{1,8}".prop_filter("another form", |method| method != "CONNECT"),
        target in "/[a-zA-Z0-9._~!$&'()*+,;=:@%/-]{0,30}(\\?[a-z=&/?]{0,10})?",
        headers in headers(),
        framing in prop_oneof![
            Just(Framing::None),
            (1..u64::MAX >> 1).prop_map(Framing::Length),
            Just(Framing::Chunked),
        ],
    ) {
        let mut output = BytesMut::new();
        let method = Method::try_from(&*method).expect("a token");
        let target = PathAndQuery::try_from(target).expect("a target");
        request_head(&mut output, &method, &target, &headers, framing).expect("it is sound");
        let read = parse(split(&output, HeadScan::default())).expect("it is valid");
        let mut request = read.request;
        request.headers_mut().remove(header::CONTENT_LENGTH);
        request.headers_mut().remove(header::TRANSFER_ENCODING);
        prop_assert_eq!(request.method(), method);
        prop_assert_eq!(request.uri().path_and_query(), Some(&target));
        prop_assert_eq!(request.headers(), &headers);
        prop_assert_eq!(read.framing, framing);
    }

    #[test]
    fn an_answer_that_was_written_reads_the_same(
        status in 200u16..1000,
        headers in headers(),
        framed in prop_oneof![
            (0..u64::MAX >> 1).prop_map(Framed::Length),
            Just(Framed::Chunked),
            Just(Framed::Close),
        ],
    ) {
        let status = StatusCode::from_u16(status).expect("a status");
        prop_assume!(status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED);
        let mut output = BytesMut::new();
        response_head(&mut output, status, &headers, framed, None);
        let read = parse_response(&split(&output, HeadScan::of_answer()), false);
        let mut read = read.expect("it is valid");
        read.response.headers_mut().remove(header::CONTENT_LENGTH);
        read.response.headers_mut().remove(header::TRANSFER_ENCODING);
        prop_assert_eq!(read.response.status(), status);
        prop_assert_eq!(read.response.headers(), &headers);
        prop_assert_eq!(read.framed, framed);
        prop_assert_eq!(read.keep_alive, framed != Framed::Close);
    }
}

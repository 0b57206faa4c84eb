//! Heads of answers: nothing panics, how the bytes arrive makes no difference, and what is accepted says the same
//! when it is written down again.
#![no_main]

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header;
use libfuzzer_sys::fuzz_target;
use tidegate_codec::http1::{
    Framed, HeadBounds, HeadScan, ResponseHead, parse_response, response_head,
};

const BOUNDS: HeadBounds = HeadBounds {
    first_line_bytes_max: 256,
    header_bytes_max: 1024,
    header_count_max: 16,
};

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let to_head = first & 1 == 1;
    let whole = accepted(data, HeadScan::of_answer().end(data, &BOUNDS).ok().flatten(), to_head);
    let mut scan = HeadScan::of_answer();
    let mut found = None;
    for end in 0..=data.len() {
        match scan.end(&data[..end], &BOUNDS) {
            Ok(None) => {}
            Ok(len) => {
                found = len;
                break;
            }
            Err(_) => break,
        }
    }
    let stepwise = accepted(data, found, to_head);
    assert_eq!(whole.as_ref().map(|(len, _)| *len), stepwise.map(|(len, _)| len));
    if let Some((_, head)) = whole {
        check(head, to_head);
    }
});

fn accepted(data: &[u8], len: Option<usize>, to_head: bool) -> Option<(usize, ResponseHead)> {
    let len = len?;
    assert!(data[..len].ends_with(b"\r\n\r\n"));
    let head = parse_response(&Bytes::copy_from_slice(&data[..len]), to_head).ok()?;
    Some((len, head))
}

fn check(head: ResponseHead, to_head: bool) {
    let headers = head.response.headers();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    assert!(lengths <= 1);
    match head.framed {
        Framed::Length(length) => {
            assert_eq!(headers[header::CONTENT_LENGTH], length.to_string());
        }
        Framed::Bodiless => {}
        Framed::Chunked | Framed::Switched => assert_eq!(lengths, 0),
        Framed::Close => assert!(!head.keep_alive && lengths == 0),
    }
    for value in headers.values() {
        assert!(!value.as_bytes().iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
    }
    let status = head.response.status();
    let mut text = BytesMut::new();
    response_head(&mut text, status, headers, head.framed, None);
    let len = HeadScan::of_answer().end(&text, &WIDE).expect("it is valid");
    assert_eq!(len, Some(text.len()));
    let again = parse_response(&text.freeze(), to_head).expect("what was accepted is accepted again");
    assert_eq!(again.framed, head.framed);
    assert_eq!(again.response.status(), status);
    // The one coding may be written in any case, and the connection's header is not the message's.
    let without = |headers: &HeaderMap| {
        let mut headers = headers.clone();
        headers.remove(header::CONNECTION);
        headers.remove(header::TRANSFER_ENCODING);
        headers
    };
    assert_eq!(without(again.response.headers()), without(headers));
}

/// The reason phrase that is written may be longer than the one that was read.
const WIDE: HeadBounds = HeadBounds {
    first_line_bytes_max: 512,
    header_bytes_max: 4096,
    header_count_max: 32,
};

//! Request heads: nothing panics, how the bytes arrive makes no difference, and what is accepted says the same
//! when it is written down again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate_codec::Refusal;
use tidegate_codec::http1::{HeadBounds, HeadScan, RequestHead, parse};

const BOUNDS: HeadBounds = HeadBounds {
    first_line_bytes_max: 256,
    header_bytes_max: 1024,
    header_count_max: 16,
};

fuzz_target!(|data: &[u8]| {
    let whole = HeadScan::default().end(data, &BOUNDS);
    let mut scan = HeadScan::default();
    let mut stepwise = Ok(None);
    for end in 0..=data.len() {
        stepwise = scan.end(&data[..end], &BOUNDS);
        if !matches!(stepwise, Ok(None)) {
            break;
        }
    }
    // What is refused may be refused for its beginning, before its end is there; accepted is the same.
    let (whole, stepwise) = (accepted(data, whole), accepted(data, stepwise));
    assert_eq!(
        whole.as_ref().map(|(len, _)| *len),
        stepwise.map(|(len, _)| len)
    );
    if let Some((_, head)) = whole {
        check(&head);
    }
});

fn accepted(data: &[u8], scanned: Result<Option<usize>, Refusal>) -> Option<(usize, RequestHead)> {
    let len = scanned.ok()??;
    assert!(data[..len].ends_with(b"\r\n\r\n"));
    Some((len, read(&data[..len]).ok()?))
}

fn read(head: &[u8]) -> Result<RequestHead, Refusal> {
    parse(Bytes::copy_from_slice(head))
}

fn check(head: &RequestHead) {
    let request = &head.request;
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    let is_ten = request.version() == http::Version::HTTP_10;
    if is_ten {
        text = format!("{} {} HTTP/1.0\r\n", request.method(), request.uri()).into_bytes();
    }
    for (name, value) in request.headers() {
        assert!(
            !value
                .as_bytes()
                .iter()
                .any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
        );
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    let again = read(&text).expect("what was accepted is accepted again");
    assert_eq!(again.framing, head.framing);
    assert_eq!(again.keep_alive, head.keep_alive);
    assert_eq!(again.upgrades, head.upgrades);
    assert_eq!(again.request.uri(), request.uri());
    assert_eq!(again.request.headers(), request.headers());
}

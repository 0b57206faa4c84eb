//! A backend that answers as it is asked to, and says what must not have reached it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::os::unix::net::UnixStream as Socket;

use bytes::{Buf as _, BytesMut};
use http::HeaderMap;
use tidegate_codec::http1::{Chunks, Decoded, Framing, HeadBounds, HeadScan, RequestHead, parse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::fields::SMUGGLED;

/// More than the gateway lets through.
const BOUNDS: HeadBounds = HeadBounds {
    first_line_bytes_max: 64 << 10,
    header_bytes_max: 128 << 10,
    header_count_max: 256,
};

/// What the backend has seen, by all connections.
#[derive(Debug, Default)]
pub struct Backend {
    /// The gateway's name of each request; one that is sent again keeps it.
    requests: RefCell<BTreeSet<String>>,
    content_bytes: Cell<usize>,
}

impl Backend {
    /// Requests, without those that were sent again.
    pub fn requests(&self) -> usize {
        self.requests.borrow().len()
    }

    /// Bytes of all contents, with those that were sent again.
    pub fn content_bytes(&self) -> usize {
        self.content_bytes.get()
    }

    /// Serves a connection of the gateway.
    pub async fn serve(&self, socket: Socket) {
        let socket = UnixStream::from_std(socket).expect("a socket that does not block");
        let mut connection = Connection {
            socket,
            input: BytesMut::new(),
        };
        while let Some(head) = connection.head().await {
            self.check(&head);
            let path = head.request.uri().path().to_owned();
            if path == "/early" && !connection.write(b"HTTP/1.1 200 OK\r\n\r\n").await {
                return;
            }
            let Some(len) = connection.content(head.framing).await else {
                return;
            };
            self.content_bytes.set(self.content_bytes.get() + len);
            if !connection.write(&answer(&path)).await || ends(&path) {
                return;
            }
        }
    }

    /// What holds for every request, whatever the client has sent.
    fn check(&self, head: &RequestHead) {
        let request = &head.request;
        let headers = request.headers();
        assert!(
            request.uri().authority().is_none(),
            "{request:?} has a path only"
        );
        let is_websocket = headers.get("upgrade").is_some_and(|to| to == "websocket");
        assert!(!head.upgrades || is_websocket, "an upgrade: {request:?}");
        assert!(!headers.contains_key(SMUGGLED), "smuggled: {request:?}");
        for name in ["host", "x-request-id", "x-forwarded-for", "forwarded"] {
            let count = headers.get_all(name).iter().count();
            assert_eq!(count, 1, "{name} of {request:?}");
        }
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_clean(headers);
        let id = headers["x-request-id"].to_str().expect("a UUID");
        self.requests.borrow_mut().insert(id.to_owned());
    }
}

struct Connection {
    socket: UnixStream,
    input: BytesMut,
}

impl Connection {
    /// The next request; `None` where the gateway sends no other one.
    async fn head(&mut self) -> Option<RequestHead> {
        let mut scan = HeadScan::default();
        loop {
            let end = scan.end(&self.input, &BOUNDS);
            if let Some(len) = end.expect("a head within its bounds") {
                let head = self.input.split_to(len).freeze();
                let parsed = parse(head.clone());
                return Some(parsed.unwrap_or_else(|refusal| panic!("{refusal:?}: {head:?}")));
            }
            self.fill().await?;
        }
    }

    /// Reads content; the number of its bytes, `None` where the gateway breaks it off.
    async fn content(&mut self, framing: Framing) -> Option<usize> {
        match framing {
            Framing::None => Some(0),
            Framing::Length(length) => {
                let length = usize::try_from(length).expect("a length within the input's");
                while self.input.len() < length {
                    self.fill().await?;
                }
                self.input.advance(length);
                Some(length)
            }
            Framing::Chunked => {
                let mut len = 0;
                let mut chunks = Chunks::new(128 << 10, 256);
                loop {
                    match chunks.decode(&mut self.input).expect("chunks") {
                        Decoded::Data(data) => len += data.len(),
                        Decoded::Partial => self.fill().await?,
                        Decoded::End(trailers) => {
                            assert_clean(&trailers.unwrap_or_default());
                            return Some(len);
                        }
                    }
                }
            }
        }
    }

    async fn fill(&mut self) -> Option<()> {
        match self.socket.read_buf(&mut self.input).await {
            Ok(1..) => Some(()),
            _ => None,
        }
    }

    /// Returns whether the gateway takes it.
    async fn write(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }
}

fn assert_clean(fields: &HeaderMap) {
    for (name, value) in fields {
        let is_bad = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
        let has_bad = value.as_bytes().iter().any(is_bad);
        assert!(!has_bad, "{name}: {value:?}");
        assert_ne!(name, SMUGGLED);
    }
}

fn answer(path: &str) -> Vec<u8> {
    let plain: &[u8] = match path {
        "/chunked" => {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n\
            3\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n"
        }
        "/half" => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        "/close" => b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "/early" => b"the content of an answer whose head is long gone",
        "/none" => b"",
        "/large" => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
            return [head, &[b'a'; 100_000][..]].concat();
        }
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    };
    plain.to_vec()
}

fn ends(path: &str) -> bool {
    ["/half", "/close", "/none", "/early"].contains(&path)
}

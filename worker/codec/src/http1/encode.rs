//! Heads, chunks and trailers for a client.

use std::fmt::Write as _;

use bytes::{BufMut as _, BytesMut};
use http::header::{self, HeaderMap};
use http::{StatusCode, Version};

/// How a response's end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed {
    /// There is no body, whatever the headers say: an answer to HEAD, a 204, a 304.
    Bodiless,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection: the way of HTTP/1.0.
    Close,
    /// The connection leaves HTTP.
    Switched,
}

impl Framed {
    /// The framing of a response to a client of this version, with a body of this many bytes if they are known.
    #[must_use]
    pub fn of_response(
        status: StatusCode,
        to_head: bool,
        version: Version,
        length: Option<u64>,
    ) -> Self {
        let never_has_body = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        match length {
            _ if status == StatusCode::SWITCHING_PROTOCOLS => Self::Switched,
            _ if to_head || never_has_body => Self::Bodiless,
            Some(length) => Self::Length(length),
            None if version == Version::HTTP_11 => Self::Chunked,
            None => Self::Close,
        }
    }
}

/// Writes a status line and headers. Those that frame the message are this function's to write: the ones
/// among `headers` are left out, save for the length that an answer to HEAD or a 304 tells.
///
/// `connection` is what the `Connection` header says; for [`Framed::Switched`] it is `upgrade`.
pub fn response_head(
    output: &mut BytesMut,
    status: StatusCode,
    headers: &HeaderMap,
    framed: Framed,
    connection: Option<&'static str>,
) {
    output.reserve(256 + 64 * headers.len());
    output.put_slice(b"HTTP/1.1 ");
    output.put_slice(status.as_str().as_bytes());
    output.put_u8(b' ');
    output.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    output.put_slice(b"\r\n");
    let tells_length = framed == Framed::Bodiless && status != StatusCode::NO_CONTENT;
    for (name, value) in headers {
        let is_framing = [header::CONNECTION, header::TRANSFER_ENCODING].contains(name)
            || (name == header::CONTENT_LENGTH && !tells_length);
        if !is_framing {
            field(output, name.as_str(), value.as_bytes());
        }
    }
    match framed {
        Framed::Length(length) => {
            let mut digits = itoa::Buffer::new();
            field(output, "content-length", digits.format(length).as_bytes());
        }
        Framed::Chunked => field(output, "transfer-encoding", b"chunked"),
        Framed::Bodiless | Framed::Close | Framed::Switched => {}
    }
    if let Some(connection) = connection {
        field(output, "connection", connection.as_bytes());
    }
    output.put_slice(b"\r\n");
}

/// Writes the line before a chunk's data; its data and CR LF follow.
pub fn chunk_head(output: &mut BytesMut, len: usize) {
    // Writing to a buffer that grows cannot fail.
    let _ = write!(output, "{len:x}\r\n");
}

/// Writes the end of a chunked body.
pub fn trailers(output: &mut BytesMut, trailers: Option<&HeaderMap>) {
    output.put_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if !super::is_forbidden_trailer(name) {
            field(output, name.as_str(), value.as_bytes());
        }
    }
    output.put_slice(b"\r\n");
}

fn field(output: &mut BytesMut, name: &str, value: &[u8]) {
    output.put_slice(name.as_bytes());
    output.put_slice(b": ");
    output.put_slice(value);
    output.put_slice(b"\r\n");
}

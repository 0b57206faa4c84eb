//! Heads, chunks and trailers on the way out. Whatever a field or target came by, it cannot break its line.

use std::fmt::Write as _;

use bytes::{BufMut as _, BytesMut};
use http::header::{self, HeaderMap};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version};

use super::Framing;
use crate::Refusal;

/// How a response's end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed {
    /// There is no body, whatever the headers say: an answer to HEAD, a 1xx, a 204, a 304.
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

/// Writes a request line and headers. Those that frame the message are this function's to write: a length among
/// `headers` only says that a request without a body says so.
///
/// # Errors
/// When the target or a field has bytes that would end its line or part; nothing is written then.
pub fn request_head(
    output: &mut BytesMut,
    method: &Method,
    target: &PathAndQuery,
    headers: &HeaderMap,
    framing: Framing,
) -> Result<(), Refusal> {
    let start = output.len();
    output.reserve(256 + 64 * headers.len());
    output.put_slice(method.as_str().as_bytes());
    output.put_u8(b' ');
    let written = put_target(output, target.as_str().as_bytes())
        .and_then(|()| request_fields(output, headers, framing));
    if written.is_err() {
        output.truncate(start);
    }
    written
}

fn request_fields(
    output: &mut BytesMut,
    headers: &HeaderMap,
    framing: Framing,
) -> Result<(), Refusal> {
    output.put_slice(b" HTTP/1.1\r\n");
    let mut has_length = false;
    for (name, value) in headers {
        if name == header::CONTENT_LENGTH {
            has_length = true;
        } else if name != header::TRANSFER_ENCODING {
            field(output, name.as_str(), value.as_bytes())?;
        }
    }
    match framing {
        Framing::Length(length) => content_length(output, length),
        Framing::Chunked => field(output, "transfer-encoding", b"chunked"),
        Framing::None if has_length => content_length(output, 0),
        Framing::None => Ok(()),
    }?;
    output.put_slice(b"\r\n");
    Ok(())
}

/// Bytes above ASCII, which a rewritten path may have, get percent signs.
fn put_target(output: &mut BytesMut, target: &[u8]) -> Result<(), Refusal> {
    if all(target, |byte| byte > b' ' && byte < 0x7F) {
        output.put_slice(target);
        return Ok(());
    }
    if !all(target, |byte| byte > b' ' && byte != 0x7F) {
        return Err(Refusal::Target);
    }
    for byte in target {
        if byte.is_ascii() {
            output.put_u8(*byte);
        } else {
            // Writing to a buffer that grows cannot fail.
            let _ = write!(output, "%{byte:02X}");
        }
    }
    Ok(())
}

/// Writes a status line and headers. Those that frame the message are this function's to write: the ones
/// among `headers` are left out, save for the length that an answer to HEAD or a 304 tells. So is a field that
/// would break its line.
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
            let _ = field(output, name.as_str(), value.as_bytes());
        }
    }
    let _ = match framed {
        Framed::Length(length) => content_length(output, length),
        Framed::Chunked => field(output, "transfer-encoding", b"chunked"),
        Framed::Bodiless | Framed::Close | Framed::Switched => Ok(()),
    };
    if let Some(connection) = connection {
        let _ = field(output, "connection", connection.as_bytes());
    }
    output.put_slice(b"\r\n");
}

/// Writes the line before a chunk's data; its data and CR LF follow.
pub fn chunk_head(output: &mut BytesMut, len: usize) {
    // Writing to a buffer that grows cannot fail.
    let _ = write!(output, "{len:x}\r\n");
}

/// Writes the end of a chunked body; fields that may not stand there, or would break their line, are left out.
pub fn trailers(output: &mut BytesMut, trailers: Option<&HeaderMap>) {
    output.put_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if !super::is_forbidden_trailer(name) {
            let _ = field(output, name.as_str(), value.as_bytes());
        }
    }
    output.put_slice(b"\r\n");
}

fn content_length(output: &mut BytesMut, length: u64) -> Result<(), Refusal> {
    let mut digits = itoa::Buffer::new();
    field(output, "content-length", digits.format(length).as_bytes())
}

/// Writes a field, unless its name or value would be read as something else.
fn field(output: &mut BytesMut, name: &str, value: &[u8]) -> Result<(), Refusal> {
    let name = name.as_bytes();
    if name.is_empty() || !all(name, |byte| byte > b' ' && byte < 0x7F && byte != b':') {
        return Err(Refusal::HeaderName);
    }
    if !all(value, |byte| {
        (byte >= b' ' && byte != 0x7F) || byte == b'\t'
    }) {
        return Err(Refusal::HeaderValue);
    }
    output.put_slice(name);
    output.put_slice(b": ");
    output.put_slice(value);
    output.put_slice(b"\r\n");
    Ok(())
}

/// Whether all bytes are so; without a way out, so that the compiler looks at many at once.
fn all(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & is(*byte))
}

#[cfg(test)]
mod tests;

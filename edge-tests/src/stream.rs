//! A client of HTTP/2 that sends any header fields, and reads just enough of what comes back.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM,
    SETTINGS,
};

/// Bytes of a frame that every receiver takes (RFC 9113, section 4.2).
const FRAME_BYTES_MAX: usize = 16 << 10;

/// Time for an answer; far more than one takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A header field.
pub type Field = (Vec<u8>, Vec<u8>);

/// A connection; its streams are used one after the other.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    next: u32,
}

/// What is sent on one stream.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The header fields, in their order.
    pub fields: Vec<Field>,
    /// The content; each piece is a frame.
    pub data: Vec<Vec<u8>>,
    /// The trailer fields.
    pub trailers: Option<Vec<Field>>,
}

/// What came of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer.
    Answer {
        /// Its status.
        status: u16,
        /// Its content.
        body: Vec<u8>,
    },
    /// The stream was reset, with this code.
    Reset(u32),
    /// The connection was given up, with this code.
    GoAway(u32),
    /// The connection was closed without a word.
    Closed,
}

impl Connection {
    /// Connects, and sends the preface.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&frames::start())?;
        Ok(Self {
            stream,
            received: Vec::new(),
            next: 1,
        })
    }

    /// Sends a request on the next stream, and waits for what comes of it.
    ///
    /// # Errors
    /// When nothing does in time.
    pub fn exchange(&mut self, request: &Request) -> anyhow::Result<Outcome> {
        let id = self.next;
        self.next += 2;
        let mut bytes = Vec::new();
        let ends = request.data.is_empty() && request.trailers.is_none();
        headers(id, &request.fields, ends, &mut bytes);
        for (index, piece) in request.data.iter().enumerate() {
            let is_last = index + 1 == request.data.len() && request.trailers.is_none();
            let flags = if is_last { END_STREAM } else { 0 };
            bytes.extend(frames::frame(DATA, flags, id, piece));
        }
        if let Some(trailers) = &request.trailers {
            headers(id, trailers, true, &mut bytes);
        }
        // What is refused may be refused before it is sent.
        let _ = self.stream.write_all(&bytes);
        self.outcome(id)
    }

    fn outcome(&mut self, id: u32) -> anyhow::Result<Outcome> {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let Some(frame) = self.frame()? else {
                return Ok(Outcome::Closed);
            };
            let code = |at: usize| {
                let bytes = frame
                    .payload
                    .get(at..at + 4)
                    .and_then(|bytes| bytes.try_into().ok());
                bytes
                    .map(u32::from_be_bytes)
                    .context("the frame is too short")
            };
            match frame.kind {
                SETTINGS if frame.flags & 1 == 0 => {
                    self.stream.write_all(&frames::frame(SETTINGS, 1, 0, &[]))?;
                }
                PING if frame.flags & 1 == 0 => {
                    self.stream
                        .write_all(&frames::frame(PING, 1, 0, &frame.payload))?;
                }
                GOAWAY if code(4)? != 0 => return Ok(Outcome::GoAway(code(4)?)),
                RST_STREAM if frame.stream == id => {
                    // An answer that is whole may be followed by one: the rest of the request is not wanted.
                    return Ok(Outcome::Reset(code(0)?));
                }
                HEADERS if frame.stream == id && status < 200 => {
                    status = read_status(&frame.payload)?
                }
                DATA if frame.stream == id => body.extend_from_slice(&frame.payload),
                _ => continue,
            }
            if frame.stream == id && frame.flags & END_STREAM != 0 && status >= 200 {
                return Ok(Outcome::Answer { status, body });
            }
        }
    }

    /// The next frame; `None` at the end of the connection.
    fn frame(&mut self) -> anyhow::Result<Option<Frame>> {
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(frame) = frames::take(&mut self.received) {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error).context("no answer"),
            }
        }
    }
}

/// A block as one HEADERS frame and as many CONTINUATION frames as it takes.
fn headers(id: u32, fields: &[Field], ends: bool, bytes: &mut Vec<u8>) {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    let block = frames::block(&fields);
    let mut pieces = block.chunks(FRAME_BYTES_MAX).peekable();
    let mut kind = HEADERS;
    loop {
        let piece = pieces.next().unwrap_or_default();
        let mut flags = if kind == HEADERS && ends {
            END_STREAM
        } else {
            0
        };
        if pieces.peek().is_none() {
            flags |= END_HEADERS;
        }
        bytes.extend(frames::frame(kind, flags, id, piece));
        kind = CONTINUATION;
        if pieces.peek().is_none() {
            return;
        }
    }
}

/// The status at the start of an answer's block, in any of the forms that HPACK has for it.
fn read_status(block: &[u8]) -> anyhow::Result<u16> {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // A table size update may come first (RFC 7541, section 6.3).
    let start = block.iter().take_while(|byte| *byte & 0xE0 == 0x20).count();
    match block[start..] {
        [byte @ 0x88..=0x8E, ..] => Ok(INDEXED[usize::from(byte - 0x88)]),
        [0x48 | 0x08 | 0x18, len, ref value @ ..] => {
            let value = value
                .get(..usize::from(len & 0x7F))
                .context("the block is too short")?;
            let text = if len & 0x80 == 0 {
                value.to_vec()
            } else {
                huffman_digits(value)?
            };
            Ok(std::str::from_utf8(&text)?.parse()?)
        }
        _ => bail!("the answer does not begin with its status: {block:02x?}"),
    }
}

/// Digits in HPACK's Huffman code (RFC 7541, appendix B).
fn huffman_digits(code: &[u8]) -> anyhow::Result<Vec<u8>> {
    let bits: Vec<u8> = code
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let mut digits = Vec::new();
    let mut rest = &bits[..];
    while rest.len() >= 5 && rest.contains(&0) {
        let value = |len: usize| {
            rest.iter()
                .take(len)
                .fold(0u8, |value, bit| value << 1 | bit)
        };
        let (len, digit) = match (value(5), value(6)) {
            (short @ 0..=2, _) => (5, short),
            (_, long @ 25..=31) => (6, long - 25 + 3),
            _ => bail!("the status is no number: {code:02x?}"),
        };
        digits.push(b'0' + digit);
        rest = rest.get(len..).unwrap_or_default();
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_each_form() {
        assert_eq!(read_status(&[0x88]).ok(), Some(200));
        assert_eq!(read_status(&[0x20, 0x8D]).ok(), Some(404));
        assert_eq!(read_status(&[0x48, 3, b'4', b'2', b'1']).ok(), Some(421));
        // 4 = 011010, 3 = 011001, 1 = 00001, then ones.
        assert_eq!(
            read_status(&[0x48, 0x83, 0b0110_1001, 0b1001_0000, 0b1111_1111]).ok(),
            Some(431)
        );
    }
}

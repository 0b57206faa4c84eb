//! Bodies in chunks (RFC 9112, section 7.1), decoded as they arrive.

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use memchr::memchr;

use super::{fields, is_forbidden_trailer};
use crate::Refusal;

/// Hexadecimal digits of a chunk's size: more than any body has.
const SIZE_DIGITS_MAX: usize = 15;

/// Bytes of a line with a chunk's size: extensions mean nothing to anybody, and are dropped.
const SIZE_LINE_BYTES_MAX: usize = 256;

/// Bytes of all extensions of a body, so that it is not made of them.
const EXTENSION_BYTES_MAX: usize = 16 << 10;

/// The decoder of one body.
#[derive(Debug)]
pub struct Chunks {
    state: State,
    extension_bytes: usize,
    trailer_bytes_max: usize,
    trailer_count_max: usize,
    /// How much of the trailers has been looked at.
    trailers: Trailers,
}

/// What a decoder found at the start of its input.
#[derive(Debug)]
pub enum Decoded {
    /// More bytes are needed.
    Partial,
    /// A piece of content; never empty.
    Data(Bytes),
    /// The body is complete.
    End(Option<HeaderMap>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Ended,
}

#[derive(Debug, Default)]
struct Trailers {
    scanned: usize,
    lines: usize,
}

impl Chunks {
    /// A decoder at the start of a body, with the bounds of its trailer section.
    #[must_use]
    pub fn new(trailer_bytes_max: usize, trailer_count_max: usize) -> Self {
        Self {
            state: State::Size,
            extension_bytes: 0,
            trailer_bytes_max,
            trailer_count_max,
            trailers: Trailers::default(),
        }
    }

    /// Takes the next piece off the input. Trailers that must not stand there are dropped.
    ///
    /// # Errors
    /// At the first byte that is not by the grammar.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Refusal> {
        loop {
            match self.state {
                State::Size => match self.size(input)? {
                    None => return Ok(Decoded::Partial),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Data(size),
                },
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(Decoded::Partial);
                    }
                    let len =
                        usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                    self.state = match left - len as u64 {
                        0 => State::DataEnd,
                        left => State::Data(left),
                    };
                    return Ok(Decoded::Data(input.split_to(len).freeze()));
                }
                State::DataEnd => match (input.first(), input.get(1)) {
                    (Some(b'\r'), Some(b'\n')) => {
                        input.advance(2);
                        self.state = State::Size;
                    }
                    (None, _) | (Some(b'\r'), None) => return Ok(Decoded::Partial),
                    _ => return Err(Refusal::Chunk),
                },
                State::Trailers => return self.trailers(input),
                State::Ended => return Ok(Decoded::End(None)),
            }
        }
    }

    fn size(&mut self, input: &mut BytesMut) -> Result<Option<u64>, Refusal> {
        let Some(len) = memchr(b'\n', &input[..input.len().min(SIZE_LINE_BYTES_MAX)]) else {
            return if input.len() >= SIZE_LINE_BYTES_MAX || !starts_like_a_size(input) {
                Err(Refusal::Chunk)
            } else {
                Ok(None)
            };
        };
        let line = input[..len].strip_suffix(b"\r").ok_or(Refusal::Chunk)?;
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        if digits == 0 || digits > SIZE_DIGITS_MAX {
            return Err(Refusal::Chunk);
        }
        let size = line[..digits].iter().fold(0u64, |size, digit| {
            size << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or_default())
        });
        let extension = &line[digits..];
        self.extension_bytes += extension.len();
        if !is_extension(extension) || self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err(Refusal::Chunk);
        }
        input.advance(len + 1);
        Ok(Some(size))
    }

    fn trailers(&mut self, input: &mut BytesMut) -> Result<Decoded, Refusal> {
        loop {
            let start = self.trailers.scanned;
            let Some(len) = memchr(b'\n', &input[start..]) else {
                // The empty line at the end does not count.
                let is_end = input[start..] == *b"\r";
                return if !is_end && input.len() > self.trailer_bytes_max {
                    Err(Refusal::Trailer)
                } else {
                    Ok(Decoded::Partial)
                };
            };
            let line = input[start..start + len]
                .strip_suffix(b"\r")
                .ok_or(Refusal::Trailer)?;
            if line.is_empty() {
                let section = input.split_to(start).freeze();
                input.advance(2);
                self.state = State::Ended;
                return read_trailers(&section).map(Decoded::End);
            }
            self.trailers.scanned = start + len + 1;
            self.trailers.lines += 1;
            let too_many = self.trailers.lines > self.trailer_count_max;
            if too_many || self.trailers.scanned > self.trailer_bytes_max {
                return Err(Refusal::Trailer);
            }
        }
    }
}

/// Whether the line that begins here could still become one with a size.
fn starts_like_a_size(line: &[u8]) -> bool {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let next_is_fine = line
        .get(digits)
        .is_none_or(|byte| matches!(byte, b';' | b' ' | b'\t' | b'\r'));
    digits <= SIZE_DIGITS_MAX && next_is_fine && (digits > 0 || line.is_empty())
}

/// Whether this is nothing, or `*( BWS ";" ... )` of printable bytes.
fn is_extension(extension: &[u8]) -> bool {
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F);
    extension.is_empty()
        || (extension.trim_ascii_start().starts_with(b";") && extension.iter().all(is_text))
}

fn read_trailers(section: &Bytes) -> Result<Option<HeaderMap>, Refusal> {
    if section.is_empty() {
        return Ok(None);
    }
    let mut all = HeaderMap::new();
    fields::parse(section, &mut all).map_err(|_| Refusal::Trailer)?;
    let mut kept = HeaderMap::new();
    for (name, value) in all.iter().filter(|(name, _)| !is_forbidden_trailer(name)) {
        kept.append(name, value.clone());
    }
    Ok((!kept.is_empty()).then_some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content and trailers of a body that arrives in pieces of so many bytes, and what is left.
    fn read(body: &str, step: usize) -> Result<(String, Option<HeaderMap>, String), Refusal> {
        let mut chunks = Chunks::new(100, 3);
        let (mut input, mut content) = (BytesMut::new(), Vec::new());
        let mut pieces = body.as_bytes().chunks(step);
        loop {
            match chunks.decode(&mut input)? {
                Decoded::Data(data) => content.extend_from_slice(&data),
                Decoded::Partial => match pieces.next() {
                    Some(piece) => input.extend_from_slice(piece),
                    None => return Err(Refusal::BodyBrokenOff),
                },
                Decoded::End(trailers) => {
                    let rest: Vec<u8> = pieces.flatten().copied().collect();
                    let rest = [&input[..], &rest].concat();
                    let text = |bytes| String::from_utf8(bytes).expect("it is text");
                    return Ok((text(content), trailers, text(rest)));
                }
            }
        }
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        let body =
            "4\r\nWiki\r\n5 ; a=\"b\"\r\npedia\r\n000\r\nX-Sum: 1\r\nHost: evil\r\n\r\nGET /";
        for step in [1, 2, 3, 7, 1000] {
            let (content, trailers, rest) = read(body, step).expect("it is valid");
            assert_eq!((&*content, &*rest), ("Wikipedia", "GET /"));
            let trailers = trailers.expect("there are some");
            assert_eq!(
                (trailers.len(), &trailers["x-sum"]),
                (1, &"1".parse().expect("a value"))
            );
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for body in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\na",
            "1_0\r\n",
            " 1\r\na",
            "1 \r\na",
            "1\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na0\r\n\r\n",
            "1234567890abcdef\r\n",
            "1;\u{0}\r\na",
            "1;a\rb\r\na",
        ] {
            assert_eq!(
                read(body, 1000).expect_err(body),
                Refusal::Chunk,
                "{body:?}"
            );
        }
        for body in [
            "0\r\na b: c\r\n\r\n",
            "0\r\na: b\n\r\n",
            "0\r\n a: b\r\n\r\n",
        ] {
            assert_eq!(
                read(body, 1000).expect_err(body),
                Refusal::Trailer,
                "{body:?}"
            );
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = format!("1;{}\r\na\r\n", "x".repeat(300));
        assert_eq!(read(&long, 10).expect_err("it is long"), Refusal::Chunk);
        let many = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(100);
        assert_eq!(
            read(&many, 1000).expect_err("they are many"),
            Refusal::Chunk
        );
        let trailers = format!("0\r\na: {}", "x".repeat(200));
        assert_eq!(
            read(&trailers, 10).expect_err("they are long"),
            Refusal::Trailer
        );
        let count = "0\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n";
        assert_eq!(
            read(count, 10).expect_err("they are many"),
            Refusal::Trailer
        );
    }
}

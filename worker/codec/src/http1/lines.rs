//! The end of a head, found line by line as its bytes arrive.

use memchr::memchr;

use crate::Refusal;

/// The bounds of a message's head.
#[derive(Debug, Clone, Copy)]
pub struct HeadBounds {
    /// Bytes of the request line or status line, without its end.
    pub first_line_bytes_max: usize,
    /// Bytes of all header lines together, with their ends.
    pub header_bytes_max: usize,
    /// Header lines.
    pub header_count_max: usize,
}

/// How far a head has been looked at; each byte is looked at once, however it arrives.
#[derive(Debug, Default)]
pub struct HeadScan {
    /// Where the line begins that is not complete yet.
    line_start: usize,
    /// Bytes that have no line end.
    scanned: usize,
    /// Where the first header line begins; 0 while the first line is not complete.
    fields_start: usize,
    fields: usize,
    skipped_empty_line: bool,
}

impl HeadScan {
    /// For an answer: no empty line may stand before it.
    #[must_use]
    pub fn of_answer() -> Self {
        Self {
            skipped_empty_line: true,
            ..Self::default()
        }
    }

    /// The length of the head at the start of `bytes`, with the empty line that ends it; `None` while it is
    /// not complete. Call it again with more bytes behind the same ones.
    ///
    /// One empty line before a request line belongs to the head (RFC 9112, section 2.2).
    ///
    /// # Errors
    /// At the first line that is above a bound, or does not end with CR LF.
    pub fn end(&mut self, bytes: &[u8], bounds: &HeadBounds) -> Result<Option<usize>, Refusal> {
        while let Some(at) = memchr(b'\n', &bytes[self.scanned..]) {
            let line_feed = self.scanned + at;
            let line = &bytes[self.line_start..line_feed];
            let Some((b'\r', line)) = line.split_last() else {
                return Err(Refusal::BareLineFeed);
            };
            self.line_start = line_feed + 1;
            self.scanned = line_feed + 1;
            if self.fields_start == 0 {
                self.first_line(line, bounds)?;
            } else if line.is_empty() {
                return Ok(Some(self.scanned));
            } else {
                self.fields += 1;
                self.check_fields(self.scanned, bounds)?;
            }
        }
        self.scanned = bytes.len();
        self.check_rest(bytes, bounds)?;
        Ok(None)
    }

    /// Whether nothing of a head has arrived.
    #[must_use]
    pub fn is_at_start(&self) -> bool {
        self.fields_start == 0 && self.scanned == self.line_start
    }

    fn first_line(&mut self, line: &[u8], bounds: &HeadBounds) -> Result<(), Refusal> {
        if line.is_empty() {
            return if std::mem::replace(&mut self.skipped_empty_line, true) {
                Err(Refusal::RequestLine)
            } else {
                Ok(())
            };
        }
        if line.len() > bounds.first_line_bytes_max {
            return Err(Refusal::RequestLineTooLong);
        }
        self.fields_start = self.scanned;
        Ok(())
    }

    fn check_fields(&self, end: usize, bounds: &HeadBounds) -> Result<(), Refusal> {
        let too_many = self.fields > bounds.header_count_max;
        if too_many || end - self.fields_start > bounds.header_bytes_max {
            return Err(Refusal::HeadersTooLarge);
        }
        Ok(())
    }

    /// Looks at a line that is not complete: what can be told now is told now.
    fn check_rest(&self, bytes: &[u8], bounds: &HeadBounds) -> Result<(), Refusal> {
        let line = &bytes[self.line_start..];
        if self.fields_start > 0 {
            // The empty line at the end does not count.
            let is_end = line == b"\r";
            return if is_end {
                Ok(())
            } else {
                self.check_fields(bytes.len(), bounds)
            };
        }
        // Garbage, such as a TLS handshake, has no line end to wait for.
        if line
            .first()
            .is_some_and(|byte| !byte.is_ascii_graphic() && *byte != b'\r')
        {
            return Err(Refusal::RequestLine);
        }
        if line.len() > bounds.first_line_bytes_max + 1 {
            return Err(Refusal::RequestLineTooLong);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HeadBounds = HeadBounds {
        first_line_bytes_max: 20,
        header_bytes_max: 40,
        header_count_max: 3,
    };

    fn end(text: &str) -> Result<Option<usize>, Refusal> {
        HeadScan::default().end(text.as_bytes(), &BOUNDS)
    }

    #[test]
    fn a_head_ends_at_its_empty_line_however_it_arrives() {
        let text = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
        let len = text.len() - 4;
        assert_eq!(end(text), Ok(Some(len)));
        let mut scan = HeadScan::default();
        for until in 0..len {
            assert_eq!(scan.end(&text.as_bytes()[..until], &BOUNDS), Ok(None));
        }
        assert_eq!(scan.end(text.as_bytes(), &BOUNDS), Ok(Some(len)));
    }

    #[test]
    fn bounds_hold_before_a_line_is_complete() {
        assert_eq!(end("GET /0123456789012345"), Ok(None));
        assert_eq!(
            end("GET /01234567890123456"),
            Err(Refusal::RequestLineTooLong)
        );
        let fields = format!("GET / HTTP/1.1\r\n{}", "x".repeat(41));
        assert_eq!(end(&fields), Err(Refusal::HeadersTooLarge));
        let most = format!("GET / HTTP/1.1\r\n{}:\r\n\r\n", "x".repeat(37));
        for end in 0..most.len() {
            let mut scan = HeadScan::default();
            assert_eq!(
                scan.end(&most.as_bytes()[..end], &BOUNDS),
                Ok(None),
                "{end}"
            );
            assert_eq!(
                scan.end(most.as_bytes(), &BOUNDS),
                Ok(Some(most.len())),
                "{end}"
            );
        }
        let many = "GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\nd:\r\n";
        assert_eq!(end(many), Err(Refusal::HeadersTooLarge));
    }

    #[test]
    fn what_is_no_line_is_refused_at_once() {
        assert_eq!(end("GET / HTTP/1.1\n"), Err(Refusal::BareLineFeed));
        assert_eq!(end("\n"), Err(Refusal::BareLineFeed));
        assert_eq!(end("\r\n\r\n"), Err(Refusal::RequestLine));
        assert_eq!(end("\x16\x03\x01"), Err(Refusal::RequestLine));
    }
}

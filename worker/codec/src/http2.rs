//! The heads of HTTP/2 frames in a stream of bytes (RFC 9113, section 4.1): for counting, not for reading.

/// Bytes of a frame's head.
const HEAD_BYTES: usize = 9;

/// Bytes that a client sends before its first frame (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// Kinds of frames (RFC 9113, section 6).
pub mod kind {
    /// Content.
    pub const DATA: u8 = 0x0;
    /// The beginning of a header section.
    pub const HEADERS: u8 = 0x1;
    /// A change of the connection's parameters.
    pub const SETTINGS: u8 = 0x4;
    /// A question for a sign of life, or its answer.
    pub const PING: u8 = 0x6;
    /// More of a header section.
    pub const CONTINUATION: u8 = 0x9;
}

/// What a frame's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub len: u32,
    /// One of [`kind`], or another.
    pub kind: u8,
}

/// Finds the heads of frames, whatever the pieces that the bytes come in.
#[derive(Debug)]
pub struct FrameScan {
    /// Bytes before the next head.
    skip: usize,
    head: [u8; HEAD_BYTES],
    head_len: usize,
}

impl FrameScan {
    /// Begins with a client's first byte.
    #[must_use]
    pub fn of_client() -> Self {
        Self {
            skip: PREFACE_BYTES,
            head: [0; HEAD_BYTES],
            head_len: 0,
        }
    }

    /// Goes on with the next bytes, and tells each head that ends among them.
    pub fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(FrameHead)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = bytes.len().min(HEAD_BYTES - self.head_len);
            if taken == 0 {
                return;
            }
            let end = self.head_len + taken;
            self.head[self.head_len..end].copy_from_slice(&bytes[..taken]);
            self.head_len = end;
            bytes = &bytes[taken..];
            if self.head_len == HEAD_BYTES {
                let [a, b, c, kind, ..] = self.head;
                let len = u32::from_be_bytes([0, a, b, c]);
                self.skip = len as usize;
                self.head_len = 0;
                found(FrameHead { len, kind });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[a, b, c, kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn heads_are_found_whatever_the_pieces() {
        let frames = [
            frame(kind::SETTINGS, &[]),
            frame(kind::DATA, &[7; 300]),
            frame(kind::PING, &[0xFF; 8]),
            frame(0xEE, &[1]),
        ];
        let bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frames.concat()].concat();
        let wanted = [
            (0, kind::SETTINGS),
            (300, kind::DATA),
            (8, kind::PING),
            (1, 0xEE),
        ];
        let wanted = wanted.map(|(len, kind)| FrameHead { len, kind });
        for size in [1, 2, 8, 9, 10, 31, 300, 1000] {
            let (mut scan, mut found) = (FrameScan::of_client(), Vec::new());
            for piece in bytes.chunks(size) {
                scan.feed(piece, |head| found.push(head));
            }
            assert_eq!(found, wanted, "in pieces of {size}");
        }
    }
}

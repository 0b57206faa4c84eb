//! Frames: what one sync makes durable, and what tells it from anything else that may lie in its place.
//!
//! A frame is `magic | CRC-32C | length | CRC of the frame before | sequence | salt | records`, big-endian, and ends at a
//! page's end: no page that was acknowledged is ever written again. The salt is of the segment and random, so that nobody
//! can have a frame stored within an entry.

use super::record::Record;

/// What a frame ends on, and a segment begins with.
pub(crate) const PAGE_BYTES: usize = 4 << 10;
const MAGIC: [u8; 4] = *b"TGF2";
/// Magic, checksum, length, checksum of the frame before, sequence, salt.
const HEADER_BYTES: usize = 4 + 4 + 4 + 4 + 8 + 8;
/// What the checksum covers begins here.
const CHECKED_FROM: usize = 8;

/// A frame's place in the log: how many were before it, and its checksum, which those before it are part of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) sequence: u64,
    pub(crate) crc: u32,
}

impl Link {
    /// Whether a frame comes next.
    pub(crate) fn is_before(&self, frame: &Frame<'_>) -> bool {
        frame.before == self.crc && frame.link.sequence == self.sequence.wrapping_add(1)
    }
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'b> {
    pub(crate) link: Link,
    /// Checksum of the frame before.
    pub(crate) before: u32,
    pub(crate) salt: u64,
    pub(crate) records: &'b [u8],
}

impl<'b> Frame<'b> {
    /// Reads the frame that `bytes` begin with; `None` where there is none that is whole.
    pub(crate) fn read(bytes: &'b [u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        let half = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four"));
        let word = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("eight"));
        if header[..4] != MAGIC {
            return None;
        }
        let end = HEADER_BYTES.checked_add(half(8) as usize)?;
        let checked = bytes.get(CHECKED_FROM..end)?;
        let crc = half(4);
        (crc32c::crc32c(checked) == crc).then_some(Self {
            link: Link {
                sequence: word(16),
                crc,
            },
            before: half(12),
            salt: word(24),
            records: &bytes[HEADER_BYTES..end],
        })
    }

    /// Bytes to the next frame.
    pub(crate) fn len(&self) -> usize {
        (HEADER_BYTES + self.records.len()).next_multiple_of(PAGE_BYTES)
    }
}

/// A frame that is being put together. Its buffer is used again.
#[derive(Debug)]
pub(crate) struct Draft {
    bytes: Vec<u8>,
}

impl Draft {
    pub(crate) fn new() -> Self {
        let bytes = vec![0; HEADER_BYTES];
        Self { bytes }
    }

    pub(crate) fn push(&mut self, record: &Record) {
        record.encode(&mut self.bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    /// Bytes of the whole frame, padding included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len().next_multiple_of(PAGE_BYTES)
    }

    /// Puts the frame behind another one. Its bytes, and its own place.
    pub(crate) fn seal(&mut self, before: Link, salt: u64) -> (&[u8], Link) {
        let records = self.bytes.len() - HEADER_BYTES;
        let records = u32::try_from(records).expect("a frame is far below 4 GiB");
        let sequence = before.sequence + 1;
        self.bytes[8..12].copy_from_slice(&records.to_be_bytes());
        self.bytes[12..16].copy_from_slice(&before.crc.to_be_bytes());
        self.bytes[16..24].copy_from_slice(&sequence.to_be_bytes());
        self.bytes[24..32].copy_from_slice(&salt.to_be_bytes());
        let crc = crc32c::crc32c(&self.bytes[CHECKED_FROM..]);
        self.bytes[..4].copy_from_slice(&MAGIC);
        self.bytes[4..8].copy_from_slice(&crc.to_be_bytes());
        self.bytes.resize(self.len(), 0);
        (&self.bytes, Link { sequence, crc })
    }

    /// Begins anew. A buffer that one large frame has made is let go.
    pub(crate) fn clear(&mut self) {
        const KEPT_BYTES: usize = 8 << 20;
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const BEFORE: Link = Link {
        sequence: 7,
        crc: 99,
    };

    fn sealed(first_gone: u64) -> Vec<u8> {
        let mut draft = Draft::new();
        draft.push(&Record::Truncated { first_gone });
        draft.seal(BEFORE, 5).0.to_vec()
    }

    #[test]
    fn a_frame_is_read_as_it_was_sealed_and_fills_its_pages() {
        let bytes = sealed(9);
        let frame = Frame::read(&bytes).unwrap();
        assert_eq!(
            (frame.link.sequence, frame.before, frame.salt),
            (8, BEFORE.crc, 5)
        );
        let mut records = Record::decode_all(frame.records);
        assert_eq!(
            records.next(),
            Some(Ok(Record::Truncated { first_gone: 9 }))
        );
        assert_eq!(records.next(), None);
        assert_eq!((frame.len(), bytes.len()), (PAGE_BYTES, PAGE_BYTES));
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_found() {
        let bytes = sealed(9);
        let used = HEADER_BYTES + Frame::read(&bytes).unwrap().records.len();
        for bit in 0..used * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::read(&flipped), None, "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn a_frame_that_is_cut_is_none() {
        let bytes = sealed(9);
        for len in 0..HEADER_BYTES + 2 {
            assert_eq!(Frame::read(&bytes[..len]), None);
        }
    }

    #[test]
    fn a_draft_can_be_used_again() {
        let mut draft = Draft::new();
        draft.push(&Record::Truncated { first_gone: 1 });
        draft.seal(BEFORE, 5);
        draft.clear();
        assert!(draft.is_empty());
        draft.push(&Record::Truncated { first_gone: 9 });
        assert_eq!(draft.seal(BEFORE, 5).0, sealed(9));
    }
}

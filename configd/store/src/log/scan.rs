//! Reads segments and holds every frame against what was written. Pure.
//!
//! A frame is written once the one before is durable. So a frame that is not whole, where nothing comes after it and the
//! witness knows of none, was never acknowledged: it is a torn one. Everything else that does not fit is damage.

use super::{
    contents::Contents,
    frame::{Frame, Link, PAGE_BYTES},
    medium::Witness,
    record::Record,
};

/// A segment, and the last entry that it brought; with that purged, nothing in it counts any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) number: u64,
    pub(crate) last_entry: Option<u64>,
}

/// Where the log ends, and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) segment: u64,
    /// Length of the segment.
    pub(crate) len: u64,
    pub(crate) salt: u64,
    /// Behind the last frame.
    pub(crate) at: u64,
    /// The last frame.
    pub(crate) link: Link,
}

/// What does not fit, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) segment: u64,
    pub(crate) what: String,
}

/// Reads one segment after the other.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) contents: Contents,
    pub(crate) extents: Vec<Extent>,
    pub(crate) end: Option<End>,
    /// The first segment that is left, and the entry that was next when it began.
    first: Option<(u64, u64)>,
    witness: Option<Witness>,
}

impl Scan {
    pub(crate) fn new(witness: Option<Witness>) -> Self {
        Self {
            witness,
            ..Self::default()
        }
    }

    /// Takes the next segment.
    ///
    /// # Errors
    ///
    /// Where it does not follow the one before, or does not begin as a segment does.
    pub(crate) fn take(&mut self, number: u64, bytes: &[u8]) -> Result<(), Damage> {
        let damage = |what: String| Damage {
            segment: number,
            what,
        };
        let head = Frame::read(bytes).ok_or_else(|| damage(no_frame(0)))?;
        let link = match self.end {
            Some(end) => link_over(end, number, &head)?,
            // The first segment that is left follows one that is gone.
            None => Link {
                sequence: head.link.sequence.wrapping_sub(1),
                crc: head.before,
            },
        };
        self.end = Some(End {
            segment: number,
            len: bytes.len() as u64,
            salt: head.salt,
            at: 0,
            link,
        });
        self.extents.push(Extent {
            number,
            last_entry: None,
        });
        while let Some(frame) = self.next_frame(bytes) {
            self.take_frame(&frame).map_err(damage)?;
        }
        Ok(())
    }

    /// Holds the log, whose last segment has these bytes, against what was acknowledged. Whether a torn frame is there.
    ///
    /// # Errors
    ///
    /// Where something is not there any more.
    pub(crate) fn finish(&self, last: &[u8]) -> Result<bool, Damage> {
        let Some(end) = self.end else {
            return match self.witness {
                Some(witness) => Err(missing(witness.segment)),
                None => Ok(false),
            };
        };
        self.check_first()?;
        let at = usize::try_from(end.at).unwrap_or(usize::MAX);
        let damage = |what: String| Damage {
            segment: end.segment,
            what: format!("{}, but {what}", no_frame(at)),
        };
        if let Some(witness) = self.witness
            && witness.link.sequence > end.link.sequence
        {
            if witness.segment > end.segment {
                return Err(missing(end.segment + 1));
            }
            let (sequence, upto) = (witness.link.sequence, witness.end);
            let what = format!("frame {sequence} was acknowledged, and ended at byte {upto}");
            return Err(damage(what));
        }
        if let Some(later) = later_frame(last, at, end.salt) {
            return Err(damage(format!("a later one is at byte {later}")));
        }
        let rest = last.get(at..).unwrap_or_default();
        Ok(rest.iter().any(|byte| *byte != 0))
    }

    /// Segments go once all of their entries are purged, so what was in the log when the first one that is left began must be.
    fn check_first(&self) -> Result<(), Damage> {
        let purged = self.contents.state.purged.map_or(0, |id| id.index + 1);
        match self.first {
            Some((number, next)) if number > 1 && next > purged => Err(missing(number - 1)),
            _ => Ok(()),
        }
    }

    /// The frame behind the last one, where there is one that follows it.
    fn next_frame<'b>(&self, bytes: &'b [u8]) -> Option<Frame<'b>> {
        let end = self.end?;
        let frame = Frame::read(bytes.get(usize::try_from(end.at).ok()?..)?)?;
        let follows = frame.salt == end.salt && end.link.is_before(&frame);
        follows.then_some(frame)
    }

    fn take_frame(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        let (sequence, at) = (frame.link.sequence, self.end.map_or(0, |end| end.at));
        let what = |why: String| format!("frame {sequence} at byte {at}: {why}");
        if let Some(witness) = self.witness
            && witness.link.sequence == sequence
            && witness.link.crc != frame.link.crc
        {
            return Err(what("it is not the one that was acknowledged".to_owned()));
        }
        let mut is_head = at == 0;
        for record in Record::decode_all(frame.records) {
            let record = record.map_err(what)?;
            let is_segment = matches!(record, Record::Segment { .. });
            if is_segment != std::mem::take(&mut is_head) {
                return Err(what("it is not in its place".to_owned()));
            }
            self.take_record(record).map_err(what)?;
        }
        if let Some(end) = &mut self.end {
            (end.at, end.link) = (end.at + frame.len() as u64, frame.link);
        }
        Ok(())
    }

    fn take_record(&mut self, record: Record) -> Result<(), String> {
        match (&record, self.end) {
            (Record::Segment { number, len, next }, Some(end)) => {
                if *number != end.segment {
                    return Err(format!("it begins segment {number}"));
                }
                if *len != end.len {
                    let found = end.len;
                    return Err(format!(
                        "the segment has {len} bytes, and {found} are there"
                    ));
                }
                self.first.get_or_insert((*number, *next));
            }
            (Record::Entry(entry), _) => {
                if let Some(extent) = self.extents.last_mut() {
                    extent.last_entry = extent.last_entry.max(Some(entry.log_id.index));
                }
            }
            _ => {}
        }
        self.contents.apply(record);
        Ok(())
    }
}

/// The link from one segment to the next.
fn link_over(end: End, number: u64, head: &Frame<'_>) -> Result<Link, Damage> {
    if number != end.segment + 1 {
        return Err(missing(end.segment + 1));
    }
    if end.link.is_before(head) {
        return Ok(end.link);
    }
    let (at, sequence) = (end.at, head.link.sequence);
    Err(Damage {
        segment: end.segment,
        what: format!(
            "at byte {at} is no whole frame that follows, but segment {number} begins with frame {sequence}"
        ),
    })
}

/// Where a frame of this segment is from `at` on, though none follows there.
fn later_frame(bytes: &[u8], at: usize, salt: u64) -> Option<usize> {
    let mut pages = (at..bytes.len()).step_by(PAGE_BYTES);
    pages.find(|page| Frame::read(&bytes[*page..]).is_some_and(|frame| frame.salt == salt))
}

fn missing(segment: u64) -> Damage {
    Damage {
        segment,
        what: "it is missing".to_owned(),
    }
}

fn no_frame(at: usize) -> String {
    format!("at byte {at} is no whole frame that follows")
}

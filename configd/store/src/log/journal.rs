//! The log on its medium: frames behind one another in segments, each frame with one sync.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
    path::Path,
};

use super::{
    contents::{Contents, HardState},
    frame::{Draft, Link, PAGE_BYTES},
    medium::{Medium, Witness},
    record::Record,
    scan::{Damage, End, Extent, Scan},
};
use crate::StoreError;

/// What is known of the log's past.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Past {
    /// Whether nothing says that the node has had a log; without one it is begun then.
    pub(crate) is_new: bool,
    /// Log index of an image that another node sent, and after which the log may not be purged yet.
    pub(crate) received: Option<u64>,
}

/// Appends frames. After a failure it must not be used any more: what reached the disk is not known.
#[derive(Debug)]
pub(crate) struct Journal<M> {
    medium: M,
    /// Bytes of a segment, unless one frame needs more.
    segment_bytes: u64,
    end: End,
    /// The segments that are there.
    extents: VecDeque<Extent>,
    written: Standing,
    draft: Draft,
    /// What is so once the draft is written.
    drafted: Standing,
    /// The last entry that is in it.
    draft_last: Option<u64>,
}

/// What a segment that begins now has to say of those before it.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    state: HardState,
    /// Index of the entry that comes next.
    next: u64,
}

impl<M: Medium> Journal<M> {
    /// Reads and checks the whole log, or begins one. `dir` is for messages.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] where something that was acknowledged is not as it was written, or a failed file operation.
    pub(crate) fn open(
        mut medium: M,
        segment_bytes: u64,
        past: Past,
        dir: &Path,
    ) -> Result<(Self, Contents), StoreError> {
        let witness = medium.witness()?;
        let numbers = medium.segments()?;
        if numbers.is_empty() && witness.is_none() {
            return match past.is_new {
                true => Ok((Self::begin(medium, segment_bytes)?, Contents::default())),
                false => Err(StoreError::damaged(dir, GONE)),
            };
        }
        let mut scan = Scan::new(witness);
        let mut last = Vec::new();
        let checked = numbers.into_iter().try_for_each(|number| {
            last = medium.read(number)?;
            let taken = scan.take(number, &last);
            taken.map_err(|damage| named(&medium, damage))
        });
        checked?;
        let is_torn = scan.finish(&last);
        let is_torn = is_torn.map_err(|damage| named(&medium, damage))?;
        let (contents, end) = (scan.contents, scan.end.expect("there is a segment"));
        if witness.is_none() && end.link.sequence > 1 {
            return Err(StoreError::damaged(medium.witness_path(), NO_WITNESS));
        }
        let whole = contents.check(past.received);
        whole.map_err(|what| StoreError::damaged(dir, what))?;
        let mut journal = Self::at(medium, segment_bytes, end, scan.extents.into());
        journal.written = Standing {
            state: contents.state,
            next: contents.last().map_or(0, |last| last.index + 1),
        };
        journal.drafted = journal.written;
        journal.make_sure(last, witness, is_torn)?;
        Ok((journal, contents))
    }

    /// Begins a log.
    fn begin(medium: M, segment_bytes: u64) -> Result<Self, StoreError> {
        let nothing = End {
            segment: 0,
            len: 0,
            salt: 0,
            at: 0,
            link: Link::default(),
        };
        let mut journal = Self::at(medium, segment_bytes, nothing, VecDeque::new());
        journal.rotate()?;
        Ok(journal)
    }

    fn at(medium: M, segment_bytes: u64, end: End, extents: VecDeque<Extent>) -> Self {
        let (written, drafted) = Default::default();
        Self {
            medium,
            segment_bytes,
            end,
            extents,
            written,
            draft: Draft::new(),
            drafted,
            draft_last: None,
        }
    }

    /// Adds a record to the next frame.
    pub(crate) fn push(&mut self, record: &Record) {
        let drafted = &mut self.drafted;
        drafted.state.note(record);
        match record {
            Record::Entry(entry) => {
                let index = entry.log_id.index;
                drafted.next = index + 1;
                self.draft_last = self.draft_last.max(Some(index));
            }
            Record::Truncated { first_gone } => drafted.next = *first_gone,
            Record::Purged(upto) => drafted.next = drafted.next.max(upto.index + 1),
            Record::Segment { .. } | Record::Vote(_) | Record::Committed(_) => {}
        }
        self.draft.push(record);
    }

    /// Bytes that the next frame has so far.
    pub(crate) fn draft_bytes(&self) -> usize {
        self.draft.len()
    }

    /// Writes the frame; what it says is durable when this returns. Then segments go in which nothing counts any more.
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        if self.draft.is_empty() {
            return Ok(());
        }
        if self.end.at + self.draft.len() as u64 > self.end.len {
            self.rotate()?;
        }
        let (bytes, link) = self.draft.seal(self.end.link, self.end.salt);
        self.medium.write(self.end.at, bytes)?;
        self.medium.sync()?;
        (self.end.at, self.end.link) = (self.end.at + bytes.len() as u64, link);
        self.draft.clear();
        self.medium.attest(self.witness())?;
        self.written = self.drafted;
        if let Some(newest) = self.extents.back_mut() {
            newest.last_entry = newest.last_entry.max(self.draft_last.take());
        }
        self.remove_purged()
    }

    /// Returns when the witness is on the disk.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        self.medium.settle()
    }

    fn witness(&self) -> Witness {
        Witness {
            link: self.end.link,
            segment: self.end.segment,
            end: self.end.at,
        }
    }

    /// Begins the next segment, with room for the draft, and with all that is not in it yet.
    fn rotate(&mut self) -> Result<(), StoreError> {
        let number = self.end.segment + 1;
        // Nobody who only has things stored can know it.
        let salt = RandomState::new().hash_one(number);
        let room = PAGE_BYTES + self.draft.len();
        let len = self.segment_bytes.max(room as u64);
        let len = len.next_multiple_of(PAGE_BYTES as u64);
        let next = self.written.next;
        let mut head = Draft::new();
        head.push(&Record::Segment { number, len, next });
        let state = self.written.state.records();
        state.for_each(|record| head.push(&record));
        let (bytes, link) = head.seal(self.end.link, salt);
        self.medium.create(number, len, bytes)?;
        self.end = End {
            segment: number,
            len,
            salt,
            at: bytes.len() as u64,
            link,
        };
        self.extents.push_back(Extent {
            number,
            last_entry: None,
        });
        // A segment that is gone must be missed in any case.
        self.medium.attest(self.witness())?;
        self.medium.settle()
    }

    fn remove_purged(&mut self) -> Result<(), StoreError> {
        let purged = self.written.state.purged.map(|id| id.index);
        while self.extents.len() > 1
            && let Some(oldest) = self.extents.front()
            && oldest.last_entry <= purged
        {
            self.medium.remove(oldest.number)?;
            self.extents.pop_front();
        }
        Ok(())
    }

    /// Writes again what the witness does not know of: it may have been read from memory, and never have been on the disk,
    /// or its sync may have failed. A torn frame gives way to zeros.
    fn make_sure(
        &mut self,
        mut bytes: Vec<u8>,
        witness: Option<Witness>,
        is_torn: bool,
    ) -> Result<(), StoreError> {
        let known = witness.filter(|witness| witness.segment == self.end.segment);
        let from = known.map_or(0, |witness| witness.end.min(self.end.at));
        let mut upto = self.end.at;
        if is_torn {
            let used = bytes.iter().rposition(|byte| *byte != 0);
            upto = used.map_or(upto, |last| last as u64 + 1);
            let (segment, at) = (self.end.segment, self.end.at);
            tracing::info!(
                segment,
                at,
                bytes = upto - at,
                "a torn frame is cut from the log"
            );
        }
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let (from_place, end, upto) = (place(from), place(self.end.at), place(upto));
        if upto > from_place {
            bytes[end..upto].fill(0);
            self.medium.write(from, &bytes[from_place..upto])?;
            self.medium.sync()?;
        }
        self.medium.attest(self.witness())?;
        self.medium.settle()
    }
}

const GONE: &str = "the log is gone, but this node has written one";
const NO_WITNESS: &str =
    "it is empty or gone, but this node has written a log, and only it knows how far";

fn named(medium: &impl Medium, damage: Damage) -> StoreError {
    StoreError::damaged(medium.path(damage.segment), damage.what)
}

//! What a log holds, made of its records one after the other.

use std::collections::BTreeMap;

use openraft::entry::RaftEntry as _;

use super::record::Record;
use crate::raft::{Entry, LogId, Vote};

/// The state beside the entries; every segment begins with it, so that older ones can go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HardState {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    /// The last entry that is gone because an image contains it.
    pub(crate) purged: Option<LogId>,
}

/// Entries and state of a log.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Contents {
    pub(crate) state: HardState,
    pub(crate) entries: BTreeMap<u64, Entry>,
}

impl HardState {
    /// Records that bring this state about.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        let vote = self.vote.map(Record::Vote);
        let committed = self.committed.map(|id| Record::Committed(Some(id)));
        let purged = self.purged.map(Record::Purged);
        [vote, committed, purged].into_iter().flatten()
    }

    /// Notes what a record says about the state.
    pub(crate) fn note(&mut self, record: &Record) {
        match record {
            Record::Vote(vote) => self.vote = Some(*vote),
            Record::Committed(id) => self.committed = *id,
            Record::Purged(upto) => self.purged = self.purged.max(Some(*upto)),
            Record::Segment { .. } | Record::Entry(_) | Record::Truncated { .. } => {}
        }
    }
}

impl Contents {
    /// Carries a record out.
    pub(crate) fn apply(&mut self, record: Record) {
        self.state.note(&record);
        match record {
            Record::Entry(entry) => drop(self.entries.insert(entry.index(), entry)),
            Record::Truncated { first_gone } => drop(self.entries.split_off(&first_gone)),
            Record::Purged(upto) => self.entries = self.entries.split_off(&(upto.index + 1)),
            Record::Segment { .. } | Record::Vote(_) | Record::Committed(_) => {}
        }
    }

    /// The last entry that is or was in the log; `None` where there never was one.
    pub(crate) fn last(&self) -> Option<LogId> {
        let last = self.entries.last_key_value();
        last.map(|(_, entry)| entry.log_id()).max(self.state.purged)
    }

    /// Holds the entries against one another and against the state. Entries up to `received` came within an image of
    /// another node, so the log need not have had them.
    ///
    /// # Errors
    ///
    /// A sentence that says what is missing.
    pub(crate) fn check(&self, received: Option<u64>) -> Result<(), String> {
        let mut next = self.state.purged.map(|id| id.index + 1);
        for index in self.entries.keys() {
            if let Some(next) = next.filter(|next| next != index) {
                return Err(format!("log entry {next} is missing before entry {index}"));
            }
            next = Some(index + 1);
        }
        // The mark is written after the entries that it covers, so a log that ends before it has lost some.
        let last = self.last().map(|id| id.index).max(received);
        match self.state.committed {
            Some(committed) if last < Some(committed.index) => {
                let last =
                    last.map_or_else(|| "nothing".to_owned(), |last| format!("entry {last}"));
                let committed = committed.index;
                Err(format!(
                    "entry {committed} was committed, but the log ends with {last}"
                ))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::id;
    use super::*;

    fn of(records: impl IntoIterator<Item = Record>) -> Contents {
        let mut contents = Contents::default();
        records
            .into_iter()
            .for_each(|record| contents.apply(record));
        contents
    }

    fn entries(range: std::ops::Range<u64>) -> impl Iterator<Item = Record> {
        range.map(|index| Record::Entry(Entry::new_blank(id(index))))
    }

    #[test]
    fn truncated_and_purged_entries_are_gone() {
        let truncated = Record::Truncated { first_gone: 6 };
        let purged = Record::Purged(id(2));
        let contents = of(entries(0..9)
            .chain([truncated, purged])
            .chain(entries(6..8)));
        let found: Vec<u64> = contents.entries.keys().copied().collect();
        assert_eq!(found, [3, 4, 5, 6, 7]);
        assert_eq!(contents.check(None), Ok(()));
    }

    #[test]
    fn a_purge_may_go_beyond_the_end() {
        let contents = of(entries(0..3)
            .chain([Record::Purged(id(9))])
            .chain(entries(10..12)));
        assert_eq!(contents.last(), Some(id(11)));
        assert_eq!(contents.check(None), Ok(()));
    }

    #[test]
    fn entries_that_are_missing_are_named() {
        let gap = of([Record::Purged(id(4))].into_iter().chain(entries(7..9)));
        assert_eq!(
            gap.check(None),
            Err("log entry 5 is missing before entry 7".to_owned())
        );
        let short = of(entries(0..3).chain([Record::Committed(Some(id(5)))]));
        assert!(
            short
                .check(None)
                .is_err_and(|why| why.contains("entry 5 was committed"))
        );
        assert_eq!(short.check(Some(5)), Ok(()), "an image has brought it");
    }

    #[test]
    fn the_state_is_brought_about_by_its_records() {
        let state = HardState {
            vote: Some(Vote::new(4, 2)),
            committed: Some(id(3)),
            purged: Some(id(2)),
        };
        assert_eq!(of(state.records()).state, state);
    }
}

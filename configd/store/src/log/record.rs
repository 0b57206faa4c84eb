//! Records: what a frame says. These bytes are on disk for ever: kinds and fields are added, never changed.

use bytes::Bytes;
use prost::Message as _;

use super::wire::{self, CommittedWire, RecordKind, RecordWire, SegmentWire, TruncatedWire};
use crate::raft::{Entry, LogId, Vote};

/// One change of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    /// First in a segment: its number, its length in bytes, and the index of the entry that comes next.
    Segment { number: u64, len: u64, next: u64 },
    /// An entry at the end.
    Entry(Entry),
    /// The vote that counts from now on.
    Vote(Vote),
    /// The last entry that is known to be committed.
    Committed(Option<LogId>),
    /// Entries from this index on are gone.
    Truncated { first_gone: u64 },
    /// Entries up to this one are gone, because an image contains them.
    Purged(LogId),
}

impl Record {
    /// Appends the record to the records of a frame.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let kind = match self {
            Self::Segment { number, len, next } => RecordKind::Segment(SegmentWire {
                number: *number,
                len: *len,
                next: *next,
            }),
            Self::Entry(entry) => RecordKind::Entry(wire::entry_wire(entry)),
            Self::Vote(vote) => RecordKind::Vote(wire::vote_wire(vote)),
            Self::Committed(id) => RecordKind::Committed(CommittedWire {
                id: id.as_ref().map(wire::log_id_wire),
            }),
            Self::Truncated { first_gone } => RecordKind::Truncated(TruncatedWire {
                first_gone: *first_gone,
            }),
            Self::Purged(upto) => RecordKind::Purged(wire::log_id_wire(upto)),
        };
        let kind = Some(kind);
        RecordWire { kind }
            .encode_length_delimited(to)
            .expect("a vector grows");
    }

    /// The records of a frame, up to the first that cannot be read.
    pub(crate) fn decode_all(records: &[u8]) -> impl Iterator<Item = Result<Self, String>> + use<> {
        // One copy, which the entries share.
        let mut rest = Bytes::copy_from_slice(records);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let record = RecordWire::decode_length_delimited(&mut rest);
            let record = record.map_err(|error| error.to_string());
            let record = record.and_then(Self::read);
            if record.is_err() {
                rest.clear();
            }
            Some(record)
        })
    }

    fn read(wire: RecordWire) -> Result<Self, String> {
        let unknown = "it has a record of a kind that this release does not know";
        Ok(match wire.kind.ok_or(unknown)? {
            RecordKind::Segment(SegmentWire { number, len, next }) => {
                Self::Segment { number, len, next }
            }
            RecordKind::Entry(entry) => Self::Entry(wire::entry(entry)?),
            RecordKind::Vote(vote) => Self::Vote(wire::vote(&vote)),
            RecordKind::Committed(CommittedWire { id }) => {
                Self::Committed(id.as_ref().map(wire::log_id))
            }
            RecordKind::Truncated(TruncatedWire { first_gone }) => Self::Truncated { first_gone },
            RecordKind::Purged(upto) => Self::Purged(wire::log_id(&upto)),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openraft::{entry::RaftEntry as _, impls::leader_id_adv::LeaderId};

    use super::*;
    use crate::raft::Payload;

    fn id(index: u64) -> LogId {
        LogId {
            leader_id: LeaderId {
                term: 3,
                node_id: 2,
            },
            index,
        }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let written = vec![
            Record::Segment {
                number: 4,
                len: 8_192,
                next: 7,
            },
            Record::Vote(Vote::new_committed(3, 2)),
            Record::Committed(None),
            Record::Committed(Some(id(0))),
            Record::Purged(id(6)),
            Record::Entry(Entry::new_normal(
                id(7),
                Payload::new(vec![1; 3_000].into()),
            )),
            Record::Entry(Entry::new_normal(id(8), Payload::new(Bytes::new()))),
            Record::Entry(Entry::new_blank(id(9))),
            Record::Truncated { first_gone: 8 },
        ];
        let mut bytes = Vec::new();
        written.iter().for_each(|record| record.encode(&mut bytes));
        let read: Result<Vec<_>, _> = Record::decode_all(&bytes).collect();
        assert_eq!(read.unwrap(), written);
    }

    #[test]
    fn a_kind_of_a_later_release_is_not_passed_over() {
        // Length 2, field 15, length 0.
        let mut records = Record::decode_all(&[2, 0x7a, 0]);
        assert!(
            records
                .next()
                .unwrap()
                .unwrap_err()
                .contains("does not know")
        );
        assert_eq!(records.next(), None);
    }
}

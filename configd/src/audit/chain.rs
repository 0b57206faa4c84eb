//! How records become lines that prove their order. Pure.
//!
//! A line is the SHA-256 digest of a record's JSON, a space, and that JSON, which names the digest of the line
//! before it.

use tidegate_ir::Digest;

use super::record::{Event, Record};

/// Digest that the first record names.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of the last record; 0 before the first.
    pub number: u64,
    /// Its digest, 64 hexadecimal digits.
    pub digest: String,
}

/// Where a chain is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The line is none of ours.
    #[error("the line after record {after} is no record")]
    Unreadable {
        /// Number of the last good record.
        after: u64,
    },
    /// The line's digest is another one than its content has.
    #[error("the record after record {after} was changed: its content does not have its digest")]
    Changed {
        /// Number of the last good record.
        after: u64,
    },
    /// The line does not follow the one before it.
    #[error(
        "record {found} does not follow record {after}: records between them are gone or were changed"
    )]
    Gap {
        /// Number of the last good record.
        after: u64,
        /// Number of the record that should have followed.
        found: u64,
    },
}

impl Head {
    /// Before the first record.
    pub(super) fn beginning() -> Self {
        Self {
            number: 0,
            digest: BEGINNING.to_owned(),
        }
    }

    /// The line of the next record, without a line break; this head becomes the record's.
    pub(super) fn append(
        &mut self,
        event: Event,
        time_unix_ms: i64,
        refusals_left_out: u64,
    ) -> String {
        let record = Record {
            number: self.number + 1,
            time_unix_ms,
            previous: std::mem::take(&mut self.digest),
            refusals_left_out,
            event,
        };
        let json = serde_json::to_string(&record).expect("a record is JSON");
        self.number = record.number;
        self.digest = Digest::of(json.as_bytes()).to_string();
        format!("{} {json}", self.digest)
    }

    /// Takes a line that must follow this head. The first line of what is kept says itself what was before it.
    pub(super) fn follow(before: Option<&Self>, line: &str) -> Result<(Self, Record), Broken> {
        let after = before.map_or(0, |head| head.number);
        let (digest, json) = line.split_once(' ').ok_or(Broken::Unreadable { after })?;
        if Digest::of(json.as_bytes()).to_string() != digest {
            return Err(Broken::Changed { after });
        }
        let record: Record =
            serde_json::from_str(json).map_err(|_| Broken::Unreadable { after })?;
        let follows = before
            .is_none_or(|head| record.number == head.number + 1 && record.previous == head.digest);
        if !follows {
            let found = record.number;
            return Err(Broken::Gap { after, found });
        }
        let head = Self {
            number: record.number,
            digest: digest.to_owned(),
        };
        Ok((head, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u64) -> Vec<String> {
        let mut head = Head::beginning();
        let event = |number| Event {
            caller: format!("caller-{number}"),
            ..Event::default()
        };
        (0..count)
            .map(|number| head.append(event(number), 7, 0))
            .collect()
    }

    fn verify(lines: &[String]) -> Result<u64, Broken> {
        let mut head = None;
        for line in lines {
            head = Some(Head::follow(head.as_ref(), line)?.0);
        }
        Ok(head.map_or(0, |head| head.number))
    }

    #[test]
    fn an_untouched_chain_holds_from_any_record_on() {
        assert_eq!(verify(&lines(5)), Ok(5));
        assert_eq!(verify(&lines(5)[2..]), Ok(5), "older files may be gone");
    }

    #[test]
    fn a_changed_a_missing_and_a_moved_record_are_found() {
        let mut changed = lines(5);
        changed[2] = changed[2].replace("caller-2", "caller-9");
        assert_eq!(verify(&changed), Err(Broken::Changed { after: 2 }));
        let mut missing = lines(5);
        missing.remove(2);
        assert_eq!(verify(&missing), Err(Broken::Gap { after: 2, found: 4 }));
        let mut moved = lines(5);
        moved.swap(2, 3);
        assert_eq!(verify(&moved), Err(Broken::Gap { after: 2, found: 4 }));
        let mut forged = lines(5);
        let json = forged[2]
            .split_once(' ')
            .expect("a line")
            .1
            .replace("caller-2", "caller-9");
        forged[2] = format!("{} {json}", Digest::of(json.as_bytes()));
        assert_eq!(verify(&forged), Err(Broken::Gap { after: 3, found: 4 }));
    }
}

//! A session: the one writer of a source at a time, and what its last batches came to.

use std::{collections::VecDeque, sync::Arc};

use super::SourceRefusal;
use crate::command::Outcome;

/// Outcomes of a session's batches that are remembered.
const OUTCOMES_MAX: usize = 64;

/// The newest session of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Its number; a later one of any source is larger.
    pub id: u64,
    /// Who writes in it.
    pub by: String,
    /// Which cluster of the source's name it is.
    pub incarnation: String,
    /// When it was opened, in milliseconds since 1970-01-01 UTC.
    pub opened_at_unix_ms: i64,
    /// How long the source may be silent before it is stale, in milliseconds; 0 for ever.
    pub lease_ms: u64,
    /// The log index of the last sign of life.
    pub renewed: u64,
    /// The same by the clock of the configd that was asked, in milliseconds since 1970-01-01 UTC.
    pub renewed_at_unix_ms: i64,
    /// The last batch that was carried out; 0 for none.
    pub sequence: u64,
    /// What the last batches came to; the last one is that of `sequence`.
    pub(crate) outcomes: Arc<VecDeque<Outcome>>,
}

/// What becomes of a batch of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is the next one.
    Next,
    /// It was carried out before, and came to this.
    Replayed(Outcome),
}

impl Session {
    /// Whether a batch is carried out.
    pub(crate) fn admit(&self, sequence: u64) -> Result<Admission, SourceRefusal> {
        let expected = self.sequence + 1;
        if sequence == expected {
            return Ok(Admission::Next);
        }
        if sequence > expected {
            return Err(SourceRefusal::SequenceGap { expected });
        }
        let oldest = expected - self.outcomes.len() as u64;
        let at = sequence.checked_sub(oldest).map(|at| at as usize);
        match at.and_then(|at| self.outcomes.get(at)) {
            Some(outcome) => Ok(Admission::Replayed(outcome.clone())),
            None => Err(SourceRefusal::Forgotten { oldest }),
        }
    }

    /// Remembers what the next batch came to.
    pub(crate) fn carried_out(&mut self, outcome: Outcome) {
        self.sequence += 1;
        let outcomes = Arc::make_mut(&mut self.outcomes);
        outcomes.push_back(outcome);
        if outcomes.len() > OUTCOMES_MAX {
            outcomes.pop_front();
        }
    }

    /// Notes a sign of life.
    pub(crate) fn renew(&mut self, index: u64, at_unix_ms: i64) {
        (self.renewed, self.renewed_at_unix_ms) = (index, at_unix_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_64_outcomes_are_told_again_and_older_ones_are_not() {
        let mut session = Session::default();
        for revision in 1..=70 {
            session.carried_out(Outcome::Applied {
                revision,
                changed: 1,
            });
        }
        let told = Outcome::Applied {
            revision: 7,
            changed: 1,
        };
        assert_eq!(session.admit(7), Ok(Admission::Replayed(told)));
        let forgotten = Err(SourceRefusal::Forgotten { oldest: 7 });
        assert_eq!(session.admit(6), forgotten);
        assert_eq!(session.admit(0), forgotten);
        assert_eq!(session.admit(71), Ok(Admission::Next));
        let gap = Err(SourceRefusal::SequenceGap { expected: 71 });
        assert_eq!(session.admit(72), gap);
    }
}

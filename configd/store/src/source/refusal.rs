//! Why a source may not do something now.

use crate::key::ObjectKey;

use super::Quota;

/// Why a source may not do something now. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceRefusal {
    /// A newer session has taken the place of this one.
    Fenced {
        /// The newest session; 0 where the source has none.
        newest: u64,
    },
    /// Nobody opened such a session of this source.
    UnknownSession {
        /// The newest session; 0 where the source has none.
        newest: u64,
    },
    /// Batches of the session are missing.
    SequenceGap {
        /// The sequence of the next one.
        expected: u64,
    },
    /// The batch was carried out, but its outcome is forgotten.
    Forgotten {
        /// The oldest sequence whose outcome is remembered.
        oldest: u64,
    },
    /// The session has to begin with a full set.
    ResyncDue,
    /// What was put aside is gone, or was added to by somebody else.
    StageLost,
    /// An object that a full set only names has changed meanwhile.
    SetMoved {
        /// Which.
        key: ObjectKey,
    },
    /// A full set does not have as many objects as its end says.
    Incomplete {
        /// How many it has.
        found: u64,
    },
    /// A full set is larger than what may be put aside.
    StageFull(Quota),
    /// The source would have more than it may.
    OverQuota(Quota),
    /// Deletions are confirmed that do not wait.
    NotHeld {
        /// Since which log index others wait; 0 for none.
        id: u64,
    },
    /// The source is not as silent as its withdrawal says.
    NotSilent,
}

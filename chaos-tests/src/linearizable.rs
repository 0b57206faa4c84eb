//! Whether a recorded history is linearizable: Wing and Gong's search with the memory of Lowe ("Testing for
//! linearizability", 2017).
//!
//! The state is a few registers. Reads of all of them at once are calls too, so registers are not judged one by one.

mod search;

use self::search::Search;

/// The content of a register; every write of a history has one of its own, so a value says which write it is.
pub type Value = Option<u64>;

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write a register.
    Put {
        /// Which.
        register: usize,
        /// What.
        value: u64,
    },
    /// Write a register if it holds a value.
    CompareAndSet {
        /// Which.
        register: usize,
        /// The value that it must hold.
        from: Value,
        /// What is written then.
        to: u64,
    },
    /// Read a register.
    Get {
        /// Which.
        register: usize,
    },
    /// Read all of them.
    List,
}

impl Action {
    /// The register that it writes and the value, where it does.
    fn writes(&self) -> Option<(usize, u64)> {
        match self {
            Self::Put { register, value }
            | Self::CompareAndSet {
                register,
                to: value,
                ..
            } => Some((*register, *value)),
            Self::Get { .. } | Self::List => None,
        }
    }
}

/// What the client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The write was made.
    Stored,
    /// The register held another value.
    Refused,
    /// What the register holds.
    Found(Value),
    /// What each register holds.
    Listed(Vec<Value>),
    /// Nothing: a write may have been made, or may be made later.
    Nothing,
}

/// A call, with the times of its start and its end by one clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Before it was sent.
    pub start: u64,
    /// After its answer came; [`u64::MAX`] where none did.
    pub end: u64,
    /// What was asked.
    pub action: Action,
    /// What was answered.
    pub answer: Answer,
}

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every call has a moment between its start and its end at which it may have happened at once.
    Linearizable,
    /// There are no such moments.
    Violated,
    /// The search was given up after 2,000,000 states, which says nothing about the history.
    Undecided,
}

/// Looks for an order of the calls that explains every answer. All registers are empty at first.
#[must_use]
pub fn check(history: &[Call], registers: usize) -> Verdict {
    Search::new(history, registers).verdict()
}

#[cfg(test)]
mod tests;

//! Whether a recorded history is linearizable: Wing and Gong's search with the memory of Lowe ("Testing for
//! linearizability", 2017).
//!
//! The state is a few registers. Reads of all of them at once are calls too, so registers are not judged one by one.

use std::collections::HashSet;

/// The content of a register; every write has one of its own, so a value says which write it is.
pub type Value = Option<u64>;

/// States that are looked at, at most.
const STATES_MAX: usize = 2_000_000;

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
    /// The search was given up.
    Undecided,
}

/// Looks for an order of the calls that explains every answer. All registers are empty at first.
#[must_use]
pub fn check(history: &[Call], registers: usize) -> Verdict {
    let calls = relevant(history);
    let first = Node {
        done: vec![0; calls.len().div_ceil(64)],
        registers: vec![None; registers],
    };
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some(node) = open.pop() {
        let calls = calls.iter().enumerate();
        let ends = calls.clone().filter(|(at, _)| !node.has(*at));
        let horizon = ends.map(|(_, call)| call.end).min().unwrap_or(u64::MAX);
        if horizon == u64::MAX {
            return Verdict::Linearizable;
        }
        // The one that ended first is on top.
        for (at, call) in calls {
            if node.has(at) || call.start > horizon {
                continue;
            }
            if let Some(next) = node.after(at, call)
                && seen.insert(next.clone())
            {
                open.push(next);
            }
        }
        if seen.len() > STATES_MAX {
            return Verdict::Undecided;
        }
    }
    Verdict::Violated
}

/// Without the calls that explain nothing and ask nothing; those that ended first are last.
fn relevant(history: &[Call]) -> Vec<Call> {
    let seen: HashSet<u64> = history.iter().flat_map(seen_by).collect();
    let refused: HashSet<usize> = history.iter().filter_map(refused_at).collect();
    let matters = |call: &&Call| match (&call.action, &call.answer) {
        (Action::Get { .. } | Action::List, Answer::Nothing) => false,
        (
            Action::Put { register, value }
            | Action::CompareAndSet {
                register,
                to: value,
                ..
            },
            Answer::Nothing,
        ) => seen.contains(value) || refused.contains(register),
        _ => true,
    };
    let mut calls: Vec<Call> = history.iter().filter(matters).cloned().collect();
    calls.sort_by_key(|call| std::cmp::Reverse(call.end));
    calls
}

/// The values that an answered call has seen.
fn seen_by(call: &Call) -> Vec<u64> {
    match (&call.action, &call.answer) {
        (_, Answer::Found(value)) => value.iter().copied().collect(),
        (_, Answer::Listed(values)) => values.iter().flatten().copied().collect(),
        // Also without an answer: then it may have been made, and have made room for others.
        (Action::CompareAndSet { from, .. }, _) => from.iter().copied().collect(),
        _ => Vec::new(),
    }
}

fn refused_at(call: &Call) -> Option<usize> {
    match (&call.action, &call.answer) {
        (Action::CompareAndSet { register, .. }, Answer::Refused) => Some(*register),
        _ => None,
    }
}

/// Which calls have happened, and what the registers hold then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    done: Vec<u64>,
    registers: Vec<Value>,
}

impl Node {
    fn has(&self, at: usize) -> bool {
        self.done[at / 64] >> (at % 64) & 1 == 1
    }

    /// The node after a call; `None` where its answer is another one.
    fn after(&self, at: usize, call: &Call) -> Option<Self> {
        let mut next = self.clone();
        next.done[at / 64] |= 1 << (at % 64);
        let registers = &mut next.registers;
        let fits = match (&call.action, &call.answer) {
            (Action::Put { register, value }, Answer::Stored | Answer::Nothing) => {
                registers[*register] = Some(*value);
                true
            }
            (Action::CompareAndSet { register, from, to }, answer) => {
                let holds = registers[*register] == *from;
                if holds && *answer != Answer::Refused {
                    registers[*register] = Some(*to);
                }
                match answer {
                    Answer::Stored => holds,
                    Answer::Refused => !holds,
                    _ => true,
                }
            }
            (Action::Get { register }, Answer::Found(value)) => registers[*register] == *value,
            (Action::List, Answer::Listed(values)) => registers == values,
            _ => false,
        };
        fits.then_some(next)
    }
}

#[cfg(test)]
mod tests;

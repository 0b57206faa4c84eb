//! Reads the whole log when the store opens, and holds every row against what was written.

use std::collections::BTreeMap;

use openraft::entry::RaftEntry as _;

use super::{
    frame::{self, Chain},
    wire,
};
use crate::{
    disk::{Row, Witness},
    raft::{Entry, LogId, Vote},
};

/// Key of the vote.
pub(crate) const VOTE: &[u8] = b"m/vote";
/// Key of the last log id that is known to be committed.
pub(crate) const COMMITTED: &[u8] = b"m/committed";
/// Key of the last log id that is gone because an image contains it, with the chain after it.
pub(crate) const PURGED: &[u8] = b"m/purged";

/// Where an entry ends: the chain after its last row, and its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) chain: Chain,
    pub(crate) parts: u32,
}

/// A log that passed every check.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) entries: BTreeMap<u64, Entry>,
    pub(crate) chains: BTreeMap<u64, End>,
    pub(crate) purged: Option<LogId>,
    pub(crate) purged_chain: Chain,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
}

/// Checks all rows: no gap, every checksum, one chain from the purged entry to the last one. `received` is the log
/// index of an image that another node sent and after which the log may not be purged yet.
///
/// # Errors
///
/// A sentence that says which row does not fit.
pub(crate) fn scan(rows: Vec<Row>, received: Option<u64>) -> Result<Found, String> {
    let mut found = Found::default();
    let mut log = Vec::new();
    for (key, value) in rows {
        match frame::read_key(&key) {
            Some((index, part)) => log.push((index, part, key, value)),
            None => read_mark(&mut found, &key, &value)?,
        }
    }
    let purged = found.purged.map(|id| id.index);
    let mut rows = log
        .into_iter()
        .filter(|(index, ..)| Some(*index) > purged)
        .peekable();
    let mut chain = found.purged_chain;
    let mut next = purged.map(|index| index + 1);
    while let Some(&(index, ..)) = rows.peek() {
        if next.is_some_and(|next| next != index) {
            return Err(format!(
                "log entry {} is missing before entry {index}",
                next.unwrap_or_default()
            ));
        }
        let mut bytes = Vec::new();
        let mut parts = 0;
        while let Some((_, part, key, value)) = rows.next_if(|(at, ..)| *at == index) {
            let name = || format!("row {part} of log entry {index}");
            let (stated, before, payload) =
                frame::open(&key, &value).map_err(|why| format!("{} {why}", name()))?;
            if part != parts
                || (part + 1 == stated) == rows.peek().is_some_and(|(at, ..)| *at == index)
            {
                return Err(format!(
                    "log entry {index} has {stated} rows, not those that are there"
                ));
            }
            if before != chain {
                return Err(format!("{} does not follow the row before it", name()));
            }
            chain = frame::link(chain, &key, payload);
            bytes.extend_from_slice(payload);
            parts += 1;
        }
        let entry = wire::decode_entry(bytes).map_err(|why| format!("log entry {index} {why}"))?;
        if entry.index() != index {
            return Err(format!(
                "log entry {index} says that it is entry {}",
                entry.index()
            ));
        }
        found.chains.insert(index, End { chain, parts });
        found.entries.insert(index, entry);
        next = Some(index + 1);
    }
    held_against_committed(found, received)
}

/// The committed mark is written after the entries that it covers, so a log that ends before it has lost some.
/// Entries up to `received` came within an image of another node, so the log need not have had them.
fn held_against_committed(found: Found, received: Option<u64>) -> Result<Found, String> {
    let last = found.entries.last_key_value().map(|(index, _)| *index);
    let last = last
        .or_else(|| found.purged.map(|id| id.index))
        .max(received);
    match found.committed {
        Some(committed) if last.is_none_or(|last| last < committed.index) => {
            let last = last.map_or_else(|| "nothing".to_owned(), |last| format!("entry {last}"));
            Err(format!(
                "entry {} was committed, but the log ends with {last}",
                committed.index
            ))
        }
        _ => Ok(found),
    }
}

/// What the witness knows of was acknowledged, so it must still be there. Entries up to `received` came within an image
/// of another node.
pub(crate) fn held_against_witness(
    found: Found,
    witness: Option<Witness>,
    received: Option<u64>,
) -> Result<Found, String> {
    let Some(witness) = witness else {
        return Ok(found);
    };
    let purged = found.purged.map(|id| id.index);
    let last = found.entries.last_key_value().map(|(index, _)| *index);
    let last = last.or(purged).max(received);
    if last < witness.last {
        let name = |index: Option<u64>| {
            index.map_or_else(|| "nothing".to_owned(), |index| format!("entry {index}"))
        };
        let (wanted, last) = (name(witness.last), name(last));
        return Err(format!(
            "{wanted} was acknowledged, but the log ends with {last}"
        ));
    }
    let chain = match witness.last {
        Some(last) if Some(last) == purged => Some(found.purged_chain),
        Some(last) => found.chains.get(&last).map(|end| end.chain),
        None => None,
    };
    if chain.is_some_and(|chain| chain != witness.chain) {
        let last = witness.last.unwrap_or_default();
        return Err(format!(
            "the log up to entry {last} is not the one that was acknowledged"
        ));
    }
    let vote = found.vote.as_ref().map(plain_vote).unwrap_or_default();
    match vote < witness.vote {
        true => Err("a vote that was given is not there any more".to_owned()),
        false => Ok(found),
    }
}

/// A vote as the witness holds it; later ones are greater.
pub(crate) fn plain_vote(vote: &Vote) -> (u64, u64, bool) {
    (vote.leader_id.term, vote.leader_id.node_id, vote.committed)
}

fn read_mark(found: &mut Found, key: &[u8], value: &[u8]) -> Result<(), String> {
    let name = String::from_utf8_lossy(key).into_owned();
    let (_, _, payload) = frame::open(key, value).map_err(|why| format!("row {name} {why}"))?;
    match key {
        VOTE => found.vote = Some(wire::decode_vote(payload)?),
        COMMITTED => found.committed = Some(wire::decode_log_id(payload)?),
        PURGED => {
            let (id, chain) = wire::decode_purged(payload)?;
            (found.purged, found.purged_chain) = (Some(id), chain);
        }
        _ => {
            return Err(format!(
                "row {name} is of a kind that this release does not know"
            ));
        }
    }
    Ok(())
}

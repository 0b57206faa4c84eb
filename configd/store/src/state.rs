//! The replicated state: what a sequence of commands makes of nothing. Pure; every replica computes the same.

mod objects;
mod parts;
mod sets;
mod snapshots;
mod sources;
mod walk;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tidegate_ir::Digest;

use crate::{
    blobs::Place,
    command::{Command, Outcome},
    history::History,
    key::{ObjectKey, StoredObject},
    source::Source,
    tombstones::Tombstones,
};

/// Where a part's bytes are and how often retained versions name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredBlob {
    pub(crate) place: Place,
    pub(crate) uses: u32,
}

/// Who asked: source and request id.
pub(crate) type RequestKey = (String, String);

/// The replicated state.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) revision: u64,
    /// The cluster's feature level; 0 before the first membership.
    pub(crate) level: u32,
    pub(crate) objects: BTreeMap<ObjectKey, Arc<StoredObject>>,
    /// Objects that are gone, as far as it is remembered.
    pub(crate) tombstones: Tombstones,
    pub(crate) sources: BTreeMap<Arc<str>, Source>,
    /// What sessions are numbered from, so that none has the number of one of an epoch before.
    pub(crate) session_base: u64,
    pub(crate) pools: BTreeMap<Arc<str>, History>,
    pub(crate) blobs: BTreeMap<Digest, StoredBlob>,
    /// Answers to the last requests, and their order, oldest first.
    pub(crate) answers: BTreeMap<RequestKey, Outcome>,
    pub(crate) requests: VecDeque<RequestKey>,
    /// Parts that no version names, by where they are, which is also their age.
    staged: BTreeMap<(u64, u64), Digest>,
    staged_bytes: u64,
    /// Parts that are alive in each pack.
    packs: BTreeMap<u64, u32>,
}

/// What an entry did besides changing the state.
#[derive(Debug, PartialEq)]
pub(crate) struct Effects {
    pub(crate) outcome: Outcome,
    /// Objects that differ from before.
    pub(crate) changed: Vec<ObjectKey>,
    /// Packs in which nothing is alive any more.
    pub(crate) released: Vec<u64>,
}

impl State {
    /// Carries out the entry at `index`.
    pub(crate) fn apply(&mut self, index: u64, command: &Command) -> Effects {
        let mut effects = Effects {
            outcome: Outcome::None,
            changed: Vec::new(),
            released: Vec::new(),
        };
        effects.outcome = match (command.check(), command) {
            (Err(reason), _) => Outcome::Refused { reason },
            (Ok(()), Command::PutObjects(put)) => {
                self.put_objects(index, put, &mut effects.changed)
            }
            (Ok(()), Command::CommitSnapshot(commit)) => {
                self.commit(index, command, commit, &mut effects.released)
            }
            (Ok(()), Command::StageBlobs(_)) => Outcome::Staged {
                stored: self.add_blobs(index, command),
            },
            (Ok(()), Command::ChangePool(change)) => self.change_pool(change),
            (Ok(()), Command::OpenSession(open)) => self.open_session(index, open),
            (Ok(()), Command::SessionWrite(write)) => {
                self.write_in_session(index, write, &mut effects.changed)
            }
            (Ok(()), Command::StageObjects(piece)) => self.stage_objects(index, piece),
            (Ok(()), Command::CommitStage(commit)) => {
                self.commit_stage(index, 0, commit, &mut effects.changed)
            }
            (Ok(()), Command::ChangeSource(change)) => {
                self.change_source(index, change, &mut effects.changed)
            }
            (Ok(()), Command::RaiseLevel(raise)) => {
                self.level = self.level.max(raise.level);
                Outcome::Level(self.level)
            }
        };
        self.expire_stages(index);
        self.expire_staged(index, &mut effects.released);
        effects
    }

    /// Begins at the feature level that all founders know.
    pub(crate) fn found_at(&mut self, level: u32) {
        if self.level == 0 {
            self.level = level;
        }
    }

    /// Begins a new epoch of every chain of snapshots, later than all before, in which no session goes on.
    pub(crate) fn begin_epoch(&mut self, now_unix_ms: i64) {
        let epochs = self.pools.values().filter_map(History::newest);
        let last = epochs.map(|meta| meta.epoch).max();
        let epoch = last.map_or(now_unix_ms, |last| now_unix_ms.max(last + 1));
        for history in self.pools.values_mut() {
            history.begin_epoch(epoch);
        }
        self.end_sessions(now_unix_ms);
    }
}

#[cfg(test)]
pub(crate) mod tests;

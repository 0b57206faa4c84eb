//! Versions of pools: what a commit and a change of marks make of them.

use std::sync::Arc;

use tidegate_ir::Digest;
use tidegate_proto::raft::v1;

use super::State;
use crate::{
    command::{Command, Outcome},
    history::{History, SnapshotMeta, Version},
};

/// Pools, at most.
const POOLS_MAX: usize = 1_000;

impl State {
    pub(super) fn commit(
        &mut self,
        index: u64,
        command: &Command,
        commit: &v1::CommitSnapshot,
        released: &mut Vec<u64>,
    ) -> Outcome {
        let pool: Arc<str> = commit.pool.as_str().into();
        let head = self.pools.get(&pool).map_or(0, History::head_version);
        if head != commit.parent {
            return Outcome::ParentMismatch { head };
        }
        if head == 0 && self.pools.len() >= POOLS_MAX {
            return Outcome::Refused {
                reason: format!("there are {POOLS_MAX} pools already"),
            };
        }
        let held = |history: &History| history.marks.is_held();
        if !commit.while_frozen && self.pools.get(&pool).is_some_and(held) {
            return Outcome::Frozen;
        }
        let missing = self.missing(command, commit);
        if !missing.is_empty() {
            return Outcome::MissingBlobs { digests: missing };
        }
        self.add_blobs(index, command);
        let mut history = self.pools.remove(&pool).unwrap_or_default();
        self.extend(&mut history, &pool, commit);
        for digest in history.compact() {
            self.drop_use(digest, released);
        }
        self.pools.insert(pool, history);
        Outcome::Committed { version: head + 1 }
    }

    pub(super) fn change_pool(&mut self, change: &v1::ChangePool) -> Outcome {
        let Some(history) = self.pools.get_mut(change.pool.as_str()) else {
            let reason = format!("there is no pool {}", change.pool);
            return Outcome::Refused { reason };
        };
        let head = history.head_version();
        if change.head != 0 && change.head != head {
            return Outcome::ParentMismatch { head };
        }
        let kept = |version: u64| history.meta(version).is_some();
        match history.marks.changed(change, kept) {
            Ok(marks) => {
                history.marks = Arc::new(marks);
                Outcome::PoolChanged { head }
            }
            Err(reason) => Outcome::Refused { reason },
        }
    }

    fn missing(&self, command: &Command, commit: &v1::CommitSnapshot) -> Vec<Digest> {
        let fresh = self.fresh_blobs(command);
        let known = |digest: &Digest| {
            self.blobs.contains_key(digest)
                || fresh
                    .binary_search_by_key(digest, |(name, _)| *name)
                    .is_ok()
        };
        let named = commit
            .put
            .iter()
            .filter_map(|part| Digest::try_from(part.digest.as_ref()).ok());
        let mut missing: Vec<Digest> = named.filter(|digest| !known(digest)).collect();
        missing.sort();
        missing.dedup();
        missing
    }

    fn extend(&mut self, history: &mut History, pool: &Arc<str>, commit: &v1::CommitSnapshot) {
        let put = commit.put.iter().filter_map(|part| {
            let digest = Digest::try_from(part.digest.as_ref()).ok()?;
            Some(((part.kind, Arc::from(part.name.as_str())), Some(digest)))
        });
        let removed = commit
            .removed
            .iter()
            .map(|part| ((part.kind, Arc::from(part.name.as_str())), None));
        let changes: Vec<_> = put
            .chain(removed)
            .filter_map(|(key, after)| history.change(key, after))
            .collect();
        for digest in changes.iter().filter_map(|change| change.after) {
            self.add_use(digest);
        }
        let epoch = history
            .newest()
            .map_or(commit.committed_at_unix_ms, |head| head.epoch);
        let meta = SnapshotMeta {
            pool: pool.clone(),
            epoch,
            version: commit.parent + 1,
            parent: commit.parent,
            digest: Digest::try_from(commit.digest.as_ref()).expect("the command was checked"),
            revision: commit.revision,
            committed_at_unix_ms: commit.committed_at_unix_ms,
            cause: commit.cause.clone(),
            parts: u32::try_from(history.head.len()).unwrap_or(u32::MAX),
            restores: commit.restores,
        };
        history.marks_mut().committed(commit);
        history.push(Version {
            meta: Arc::new(meta),
            changes: changes.into(),
        });
    }
}

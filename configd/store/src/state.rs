//! The replicated state: what a sequence of commands makes of nothing. Pure; every replica computes the same.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use tidegate_ir::Digest;
use tidegate_proto::{
    objects::v1::{Operation, operation, precondition},
    raft::v1,
};

use crate::{
    blobs::{Place, layout},
    command::{Command, Outcome},
    history::{History, SnapshotMeta, Version},
    key::{ObjectKey, StoredObject},
};

/// Answers that are remembered for retries.
const REQUESTS_MAX: usize = 1_024;
/// Bytes of parts that no version names yet, at most.
const STAGED_BYTES_MAX: u64 = 256 << 20;
/// Log entries after which a part that no version names is dropped.
const STAGED_ENTRIES_MAX: u64 = 10_000;
/// Pools, at most.
const POOLS_MAX: usize = 1_000;

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
    pub(crate) objects: BTreeMap<ObjectKey, Arc<StoredObject>>,
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
        };
        self.expire_staged(index, &mut effects.released);
        effects
    }

    /// The parts of `command` that are not stored yet, each once: the content of the entry's pack.
    pub(crate) fn fresh_blobs(&self, command: &Command) -> Vec<(Digest, Bytes)> {
        let mut fresh: Vec<(Digest, Bytes)> = Vec::new();
        for blob in command.blobs() {
            let Ok(digest) = Digest::try_from(blob.digest.as_ref()) else {
                continue;
            };
            if !self.blobs.contains_key(&digest) {
                fresh.push((digest, blob.content.clone()));
            }
        }
        fresh.sort_by_key(|(digest, _)| *digest);
        fresh.dedup_by_key(|(digest, _)| *digest);
        fresh
    }

    /// Whether anything in this pack is alive.
    pub(crate) fn has_pack(&self, pack: u64) -> bool {
        self.packs.contains_key(&pack)
    }

    /// Begins a new epoch of every chain of snapshots, later than all before.
    pub(crate) fn begin_epoch(&mut self, now_unix_ms: i64) {
        let epochs = self.pools.values().filter_map(History::newest);
        let last = epochs.map(|meta| meta.epoch).max();
        let epoch = last.map_or(now_unix_ms, |last| now_unix_ms.max(last + 1));
        for history in self.pools.values_mut() {
            history.begin_epoch(epoch);
        }
    }

    /// The packs in which something is alive, in order.
    pub(crate) fn packs(&self) -> Vec<u64> {
        self.packs.keys().copied().collect()
    }

    /// Takes back a part of an image.
    pub(crate) fn restore_blob(&mut self, digest: Digest, blob: StoredBlob) {
        *self.packs.entry(blob.place.pack).or_default() += 1;
        if blob.uses == 0 {
            self.staged.insert(age(blob.place), digest);
            self.staged_bytes += blob.place.len;
        }
        self.blobs.insert(digest, blob);
    }

    fn put_objects(
        &mut self,
        index: u64,
        put: &v1::PutObjects,
        changed: &mut Vec<ObjectKey>,
    ) -> Outcome {
        let request = (put.source.clone(), put.request_id.clone());
        if let Some(answer) = self.answers.get(&request) {
            return answer.clone();
        }
        let outcome = match self.plan(index, &put.operations) {
            Ok(plan) => {
                for (key, object) in plan {
                    match object {
                        Some(object) => self.objects.insert(key.clone(), object),
                        None => self.objects.remove(&key),
                    };
                    changed.push(key);
                }
                if !changed.is_empty() {
                    self.revision = index;
                }
                let changed =
                    u32::try_from(changed.len()).expect("a batch has at most 20,000 changes");
                Outcome::Applied {
                    revision: self.revision,
                    changed,
                }
            }
            Err(failed) => failed,
        };
        if !request.1.is_empty() {
            self.remember(request, outcome.clone());
        }
        outcome
    }

    /// What the batch makes of the objects that it touches; only those that differ from before.
    #[allow(
        clippy::result_large_err,
        reason = "the error is the answer, and it is moved once"
    )]
    fn plan(
        &self,
        index: u64,
        operations: &[Operation],
    ) -> Result<BTreeMap<ObjectKey, Option<Arc<StoredObject>>>, Outcome> {
        let mut plan: BTreeMap<ObjectKey, Option<Arc<StoredObject>>> = BTreeMap::new();
        for (at, operation) in operations.iter().enumerate() {
            let (key, put) = match operation.operation.as_ref() {
                Some(operation::Operation::Put(object)) => (object.key.clone(), Some(object)),
                Some(operation::Operation::Delete(key)) => (Some(key.clone()), None),
                None => continue,
            };
            let Some(key) = key.map(ObjectKey::from) else {
                continue;
            };
            let current = plan
                .get(&key)
                .cloned()
                .unwrap_or_else(|| self.objects.get(&key).cloned());
            if !holds(operation, current.as_deref()) {
                let found = current.map(|object| object.revision);
                let index = u32::try_from(at).expect("a batch has at most 20,000 changes");
                return Err(Outcome::PreconditionFailed { index, key, found });
            }
            let next = put.map(|object| Arc::new(StoredObject::new(key.clone(), object, index)));
            plan.insert(key, next);
        }
        plan.retain(|key, next| match (self.objects.get(key), next) {
            (None, None) => false,
            (Some(old), Some(new)) => !old.same_as(new),
            _ => true,
        });
        Ok(plan)
    }

    fn remember(&mut self, request: RequestKey, outcome: Outcome) {
        self.answers.insert(request.clone(), outcome);
        self.requests.push_back(request);
        if self.requests.len() > REQUESTS_MAX
            && let Some(oldest) = self.requests.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }

    fn commit(
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
        };
        history.push(Version {
            meta: Arc::new(meta),
            changes: changes.into(),
        });
    }

    fn add_blobs(&mut self, index: u64, command: &Command) -> u32 {
        let fresh = self.fresh_blobs(command);
        let mut stored = 0;
        for (digest, place) in layout(index, &fresh) {
            self.restore_blob(digest, StoredBlob { place, uses: 0 });
            stored += 1;
        }
        stored
    }

    fn add_use(&mut self, digest: Digest) {
        let blob = self
            .blobs
            .get_mut(&digest)
            .expect("a commit names only stored parts");
        if blob.uses == 0 && self.staged.remove(&age(blob.place)).is_some() {
            self.staged_bytes -= blob.place.len;
        }
        blob.uses += 1;
    }

    fn drop_use(&mut self, digest: Digest, released: &mut Vec<u64>) {
        let blob = self
            .blobs
            .get_mut(&digest)
            .expect("a retained version's parts are stored");
        blob.uses -= 1;
        if blob.uses == 0 {
            self.forget(digest, released);
        }
    }

    fn forget(&mut self, digest: Digest, released: &mut Vec<u64>) {
        let Some(blob) = self.blobs.remove(&digest) else {
            return;
        };
        let Some(alive) = self.packs.get_mut(&blob.place.pack) else {
            return;
        };
        *alive -= 1;
        if *alive == 0 {
            self.packs.remove(&blob.place.pack);
            released.push(blob.place.pack);
        }
    }

    fn expire_staged(&mut self, index: u64, released: &mut Vec<u64>) {
        while let Some((&(pack, _), &digest)) = self.staged.first_key_value() {
            if self.staged_bytes <= STAGED_BYTES_MAX && index - pack <= STAGED_ENTRIES_MAX {
                break;
            }
            self.staged.pop_first();
            self.staged_bytes -= self.blobs.get(&digest).map_or(0, |blob| blob.place.len);
            self.forget(digest, released);
        }
    }
}

/// Parts age by the entry that brought them.
fn age(place: Place) -> (u64, u64) {
    (place.pack, place.offset)
}

fn holds(operation: &Operation, current: Option<&StoredObject>) -> bool {
    use precondition::Condition;
    match operation
        .precondition
        .as_ref()
        .and_then(|precondition| precondition.condition.as_ref())
    {
        None => true,
        Some(Condition::Revision(revision)) => {
            current.is_some_and(|object| object.revision == *revision)
        }
        Some(Condition::Absent(absent)) => current.is_none() == *absent,
    }
}

#[cfg(test)]
pub(crate) mod tests;

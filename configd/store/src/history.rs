//! The chain of versions of one pool: the newest manifest whole, older ones as what was changed.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tidegate_ir::Digest;

use crate::marks::Marks;

/// Versions that a pool keeps, at most.
const VERSIONS_MAX: usize = 1_000;
/// Bytes of changes that a pool keeps, at most; the newest version stays whatever its size.
const CHANGES_BYTES_MAX: usize = 64 << 20;

/// One line of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRef {
    /// Number of the part's kind in `tidegate.ir.v1.PartKind`.
    pub kind: i32,
    /// Name within the kind.
    pub name: Arc<str>,
    /// The part's bytes.
    pub digest: Digest,
}

/// A part that differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartChange {
    /// Number of the part's kind in `tidegate.ir.v1.PartKind`.
    pub kind: i32,
    /// Name within the kind.
    pub name: Arc<str>,
    /// The bytes in the older version; `None` where it has no such part.
    pub before: Option<Digest>,
    /// The bytes in the newer version; `None` where it has no such part.
    pub after: Option<Digest>,
}

/// A version without its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The pool.
    pub pool: Arc<str>,
    /// Commit time of the chain's first version, in milliseconds since 1970-01-01 UTC; tells a chain from one that
    /// began anew after its history was lost.
    pub epoch: i64,
    /// Place in the chain, from 1.
    pub version: u64,
    /// The version before; 0 for the first.
    pub parent: u64,
    /// Digest of the manifest.
    pub digest: Digest,
    /// The object set that it was compiled from.
    pub revision: u64,
    /// Time of the commit in milliseconds since 1970-01-01 UTC, by the leader's clock.
    pub committed_at_unix_ms: i64,
    /// Why it was made.
    pub cause: String,
    /// Number of parts.
    pub parts: u32,
    /// The version whose content a rollback brought back; 0 for what was compiled.
    pub restores: u64,
}

/// A key of a manifest; its order is the manifest's.
pub(crate) type PartKey = (i32, Arc<str>);

/// A version and how it came from its parent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Version {
    pub(crate) meta: Arc<SnapshotMeta>,
    /// Empty in the oldest retained version: its parent is gone, so nobody can ask.
    pub(crate) changes: Arc<[PartChange]>,
}

/// The retained versions of one pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct History {
    /// The newest version's manifest.
    pub(crate) head: BTreeMap<PartKey, Digest>,
    /// Oldest first; never empty once the pool exists. Only kept versions have gaps between them.
    pub(crate) versions: VecDeque<Version>,
    /// What is said about the versions.
    pub(crate) marks: Arc<Marks>,
    changes_bytes: usize,
}

impl History {
    /// The newest version, if any.
    pub(crate) fn newest(&self) -> Option<&Arc<SnapshotMeta>> {
        self.versions.back().map(|version| &version.meta)
    }

    /// Dates the whole chain anew.
    pub(crate) fn begin_epoch(&mut self, epoch: i64) {
        for version in &mut self.versions {
            Arc::make_mut(&mut version.meta).epoch = epoch;
        }
    }

    /// The newest version's number; 0 where there is none.
    pub(crate) fn head_version(&self) -> u64 {
        self.newest().map_or(0, |meta| meta.version)
    }

    /// The version with this number, if it is retained.
    pub(crate) fn meta(&self, version: u64) -> Option<&Arc<SnapshotMeta>> {
        self.position(version).map(|at| &self.versions[at].meta)
    }

    /// What is said about the versions, to be changed.
    pub(crate) fn marks_mut(&mut self) -> &mut Marks {
        Arc::make_mut(&mut self.marks)
    }

    /// Changes the newest manifest and says what differs.
    pub(crate) fn change(&mut self, key: PartKey, after: Option<Digest>) -> Option<PartChange> {
        let before = match after {
            Some(digest) => self.head.insert(key.clone(), digest),
            None => self.head.remove(&key),
        };
        let (kind, name) = key;
        (before != after).then_some(PartChange {
            kind,
            name,
            before,
            after,
        })
    }

    /// Adds a version whose changes are already in the newest manifest.
    pub(crate) fn push(&mut self, version: Version) {
        self.changes_bytes += bytes_of(&version);
        self.versions.push_back(version);
    }

    /// Forgets the oldest versions that are beyond the bounds, but none that is kept, and returns the digests that
    /// they alone needed to be retained for, once for each use.
    pub(crate) fn compact(&mut self) -> Vec<Digest> {
        let mut unused = Vec::new();
        while self.versions.len() > VERSIONS_MAX || self.changes_bytes > CHANGES_BYTES_MAX {
            let older = self.versions.len().saturating_sub(1);
            let mut older = self.versions.iter().take(older);
            let Some(at) = older.position(|version| !self.marks.keeps(version.meta.version)) else {
                break;
            };
            self.forget(at, &mut unused);
        }
        unused
    }

    /// Takes a version that is not the newest out; what it changed is from now on changed by the next one.
    fn forget(&mut self, at: usize, unused: &mut Vec<Digest>) {
        let gone = self.versions.remove(at).expect("the version is there");
        let next = self
            .versions
            .get_mut(at)
            .expect("the newest version is never forgotten");
        self.changes_bytes -= bytes_of(&gone) + bytes_of(next);
        next.changes = if at == 0 {
            unused.extend(next.changes.iter().filter_map(|change| change.before));
            Arc::from([])
        } else {
            joined(&gone.changes, &next.changes, unused)
        };
        self.changes_bytes += bytes_of(next);
    }

    /// The manifest of a retained version, in order.
    pub(crate) fn manifest(&self, version: u64) -> Option<Vec<PartRef>> {
        let at = self.position(version)?;
        if at + 1 == self.versions.len() {
            return Some(lines(&self.head));
        }
        let mut parts = self.head.clone();
        for newer in self.versions.iter().skip(at + 1).rev() {
            for change in newer.changes.iter() {
                let key = (change.kind, change.name.clone());
                match change.before {
                    Some(digest) => parts.insert(key, digest),
                    None => parts.remove(&key),
                };
            }
        }
        Some(lines(&parts))
    }

    /// What differs between two retained versions, in the manifest's order. From 0 means from nothing.
    pub(crate) fn delta(&self, from: u64, to: u64) -> Option<Vec<PartChange>> {
        if from == 0 {
            let added = |part: PartRef| PartChange {
                kind: part.kind,
                name: part.name,
                before: None,
                after: Some(part.digest),
            };
            return Some(self.manifest(to)?.into_iter().map(added).collect());
        }
        let (older, newer) = (self.position(from.min(to))?, self.position(from.max(to))?);
        let mut touched: BTreeMap<PartKey, (Option<Digest>, Option<Digest>)> = BTreeMap::new();
        for version in self.versions.range(older + 1..newer + 1) {
            for change in version.changes.iter() {
                touched
                    .entry((change.kind, change.name.clone()))
                    .and_modify(|(_, after)| *after = change.after)
                    .or_insert((change.before, change.after));
            }
        }
        let backwards = from > to;
        let changes = touched
            .into_iter()
            .filter(|(_, (before, after))| before != after);
        let changes = changes.map(|((kind, name), (before, after))| {
            let (before, after) = if backwards {
                (after, before)
            } else {
                (before, after)
            };
            PartChange {
                kind,
                name,
                before,
                after,
            }
        });
        Some(changes.collect())
    }

    /// The last change of each part that `asked` picks, in the manifest's order, and the version that made it;
    /// `None` where that is older than the history.
    pub(crate) fn last_changes(
        &self,
        asked: impl Fn(i32, &str) -> bool,
    ) -> Vec<(PartChange, Option<Arc<SnapshotMeta>>)> {
        let mut found = BTreeMap::new();
        for version in self.versions.iter().rev() {
            let changes = version.changes.iter();
            for change in changes.filter(|change| asked(change.kind, &change.name)) {
                let last = || (change.clone(), Some(version.meta.clone()));
                let key = (change.kind, change.name.clone());
                found.entry(key).or_insert_with(last);
            }
        }
        for ((kind, name), digest) in &self.head {
            let first = || {
                let (name, digest) = (name.clone(), Some(*digest));
                let (kind, before, after) = (*kind, digest, digest);
                let change = PartChange {
                    kind,
                    name,
                    before,
                    after,
                };
                (change, None)
            };
            if asked(*kind, name) {
                found.entry((*kind, name.clone())).or_insert_with(first);
            }
        }
        found.into_values().collect()
    }

    fn position(&self, version: u64) -> Option<usize> {
        self.versions
            .binary_search_by_key(&version, |kept| kept.meta.version)
            .ok()
    }
}

/// Two changes that follow each other as one; `unused` gets the digests that only the version between them had.
fn joined(
    first: &[PartChange],
    second: &[PartChange],
    unused: &mut Vec<Digest>,
) -> Arc<[PartChange]> {
    let keyed = |change: &PartChange| ((change.kind, change.name.clone()), change.clone());
    let mut changes: BTreeMap<PartKey, PartChange> = first.iter().map(keyed).collect();
    for change in second {
        let (key, mut change) = keyed(change);
        if let Some(between) = changes.remove(&key) {
            unused.extend(between.after);
            change.before = between.before;
            if change.before == change.after {
                unused.extend(change.after);
                continue;
            }
        }
        changes.insert(key, change);
    }
    changes.into_values().collect()
}

fn lines(parts: &BTreeMap<PartKey, Digest>) -> Vec<PartRef> {
    let line = |((kind, name), digest): (&PartKey, &Digest)| PartRef {
        kind: *kind,
        name: name.clone(),
        digest: *digest,
    };
    parts.iter().map(line).collect()
}

/// What a version weighs in memory and in an image, roughly; equal on every replica.
fn bytes_of(version: &Version) -> usize {
    let changes: usize = version
        .changes
        .iter()
        .map(|change| change.name.len() + 80)
        .sum();
    changes + version.meta.cause.len() + 128
}

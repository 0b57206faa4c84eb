//! The chain of versions of one pool: the newest manifest whole, older ones as what was changed.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tidegate_ir::Digest;

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
    /// Oldest first, without gaps; never empty once the pool exists.
    pub(crate) versions: VecDeque<Version>,
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

    /// Forgets the oldest versions that are beyond the bounds and returns the digests that they alone needed to
    /// be retained for, once for each use.
    pub(crate) fn compact(&mut self) -> Vec<Digest> {
        let mut unused = Vec::new();
        while self.versions.len() > VERSIONS_MAX
            || (self.versions.len() > 1 && self.changes_bytes > CHANGES_BYTES_MAX)
        {
            let gone = self
                .versions
                .pop_front()
                .expect("there is more than one version");
            self.changes_bytes -= bytes_of(&gone);
            let oldest = self
                .versions
                .front_mut()
                .expect("there was more than one version");
            self.changes_bytes -= bytes_of(oldest);
            unused.extend(oldest.changes.iter().filter_map(|change| change.before));
            oldest.changes = Arc::from([]);
            self.changes_bytes += bytes_of(oldest);
        }
        unused
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

    fn position(&self, version: u64) -> Option<usize> {
        let oldest = self.versions.front()?.meta.version;
        let at = usize::try_from(version.checked_sub(oldest)?).ok()?;
        (at < self.versions.len()).then_some(at)
    }
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

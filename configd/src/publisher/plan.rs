//! Decides which log entries turn a pool's head into what was compiled.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use tidegate_compiler::Parts;
use tidegate_ir::{Digest, EncodedPart, PartKey, PartKind, manifest_digest};
use tidegate_proto::ir::v1::{self as ir, Blob};
use tidegate_proto::raft::v1::{CommitSnapshot, StageBlobs};
use tidegate_store::PartRef;

/// Bytes of parts that one log entry carries, at most; a single larger part travels alone.
const ENTRY_BYTES_MAX: usize = 900 << 10;

/// Log entries, to be proposed in this order.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    /// First: the bytes that do not fit into the commit.
    pub(crate) staged: Vec<StageBlobs>,
    /// Last; revision, time and cause are still to be filled in.
    pub(crate) commit: CommitSnapshot,
}

/// The newest version of a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Head<'h> {
    /// Its ordered manifest.
    Lines(&'h [PartRef]),
    /// What it was committed from, which shares with what comes next all that did not change.
    Parts(&'h Parts),
}

/// What turns the head, which has the version `parent`, into `parts`; `None` where nothing differs. Bytes that are `stored`
/// already do not travel.
pub(crate) fn plan(
    pool: &str,
    parent: u64,
    head: Head<'_>,
    parts: &Parts,
    stored: impl Fn(&Digest) -> bool,
) -> Option<Plan> {
    let (changed, removed) = match head {
        Head::Lines(lines) => differences(lines, parts),
        Head::Parts(before) => changes(before, parts),
    };
    if changed.is_empty() && removed.is_empty() {
        return None;
    }
    let (staged, blobs) = batches(&changed, stored);
    let digest = manifest_digest(parts.iter().map(|(key, part)| (key, part.digest())));
    let commit = CommitSnapshot {
        pool: pool.to_owned(),
        parent,
        digest: digest.as_bytes().to_vec().into(),
        put: changed.iter().map(|part| reference(part)).collect(),
        removed,
        blobs,
        ..CommitSnapshot::default()
    };
    Some(Plan { staged, commit })
}

/// What turns the head into the manifest `base` with the addresses of endpoints that are in `parts`; `None` where
/// nothing differs. A set that `parts` does not have stays as it is in `base`.
pub(crate) fn addresses(
    pool: &str,
    parent: u64,
    head: &[PartRef],
    base: &[PartRef],
    parts: &Parts,
    stored: impl Fn(&Digest) -> bool,
) -> Option<Plan> {
    let line = |line: &PartRef| (line.kind, line.name.clone());
    let mut old: BTreeMap<_, Digest> = head.iter().map(|part| (line(part), part.digest)).collect();
    let (mut changed, mut put, mut manifest) = (vec![], vec![], vec![]);
    for part in base {
        let key = PartKey::new(PartKind::from_number(part.kind)?, part.name.clone());
        let newer = newer(part, parts);
        changed.extend(newer);
        let digest = newer.map_or(part.digest, EncodedPart::digest);
        if old.remove(&line(part)) != Some(digest) {
            put.push(ir::PartRef {
                kind: part.kind,
                name: part.name.to_string(),
                digest: digest.as_bytes().to_vec().into(),
            });
        }
        manifest.push((key, digest));
    }
    let removed = old.into_keys();
    let removed: Vec<_> = removed
        .map(|(kind, name)| ir::PartKey {
            kind,
            name: name.to_string(),
        })
        .collect();
    if put.is_empty() && removed.is_empty() {
        return None;
    }
    let (staged, blobs) = batches(&changed, stored);
    let digest = manifest_digest(manifest.iter().map(|(key, digest)| (key, *digest)));
    let commit = CommitSnapshot {
        pool: pool.to_owned(),
        parent,
        digest: digest.as_bytes().to_vec().into(),
        put,
        removed,
        blobs,
        ..CommitSnapshot::default()
    };
    Some(Plan { staged, commit })
}

/// Whether `parts` has other addresses for a set of endpoints in a manifest.
pub(crate) fn has_newer_addresses(manifest: &[PartRef], parts: &Parts) -> bool {
    manifest.iter().any(|line| newer(line, parts).is_some())
}

fn newer<'p>(line: &PartRef, parts: &'p Parts) -> Option<&'p EncodedPart> {
    if line.kind != PartKind::EndpointSet.number() {
        return None;
    }
    let part = parts.get(&PartKey::new(PartKind::EndpointSet, line.name.clone()));
    part.filter(|part| part.digest() != line.digest)
}

impl Plan {
    /// Whether it changes more than sets of endpoints.
    pub(crate) fn is_more_than_addresses(&self) -> bool {
        let set = PartKind::EndpointSet.number();
        !self.commit.removed.is_empty() || self.commit.put.iter().any(|part| part.kind != set)
    }
}

/// Walks both ordered lists once: at 10,000 routes they have 30,000 lines each.
fn differences<'p>(head: &[PartRef], parts: &'p Parts) -> (Vec<&'p EncodedPart>, Vec<ir::PartKey>) {
    let (mut changed, mut removed) = (vec![], vec![]);
    let mut old = head.iter().peekable();
    for (key, part) in parts.iter() {
        let order = |line: &PartRef| (line.kind, &*line.name).cmp(&(key.kind.number(), &*key.name));
        while let Some(line) = old.next_if(|line| order(line) == Ordering::Less) {
            removed.push(key_of(line));
        }
        match old.next_if(|line| order(line) == Ordering::Equal) {
            Some(line) if line.digest == part.digest() => {}
            Some(_) | None => changed.push(part),
        }
    }
    removed.extend(old.map(key_of));
    (changed, removed)
}

/// The same without looking at what both share.
fn changes<'p>(before: &'p Parts, parts: &'p Parts) -> (Vec<&'p EncodedPart>, Vec<ir::PartKey>) {
    let (mut changed, mut removed) = (vec![], vec![]);
    for (key, before, now) in parts.since(before) {
        match now {
            Some(now) if before != Some(now) => changed.push(now),
            Some(_) => {}
            None => removed.push(ir::PartKey {
                kind: key.kind.number(),
                name: key.name.to_string(),
            }),
        }
    }
    (changed, removed)
}

fn key_of(line: &PartRef) -> ir::PartKey {
    ir::PartKey {
        kind: line.kind,
        name: line.name.to_string(),
    }
}

fn reference(part: &EncodedPart) -> ir::PartRef {
    ir::PartRef {
        kind: part.key().kind.number(),
        name: part.key().name.to_string(),
        digest: part.digest().as_bytes().to_vec().into(),
    }
}

/// The bytes that are not stored: in full batches ahead, the rest with the commit.
fn batches(
    changed: &[&EncodedPart],
    stored: impl Fn(&Digest) -> bool,
) -> (Vec<StageBlobs>, Vec<Blob>) {
    let (mut staged, mut batch, mut bytes) = (vec![], vec![], 0);
    let mut seen = BTreeSet::new();
    for part in changed {
        let digest = part.digest();
        if stored(&digest) || !seen.insert(digest) {
            continue;
        }
        let blob = Blob {
            digest: digest.as_bytes().to_vec().into(),
            content: part.bytes().clone(),
        };
        let len = blob.encoded_len();
        if bytes > 0 && bytes + len > ENTRY_BYTES_MAX {
            staged.push(StageBlobs {
                blobs: std::mem::take(&mut batch),
            });
            bytes = 0;
        }
        bytes += len;
        batch.push(blob);
    }
    (staged, batch)
}

#[cfg(test)]
mod tests {
    use tidegate_ir::{EndpointSet, Part};

    use super::*;

    fn parts(names: &[(&str, u16)]) -> Parts {
        let part = |(name, port): &(&str, u16)| {
            let endpoints = vec![tidegate_ir::Endpoint {
                address: ([127, 0, 0, 1], *port).into(),
                draining: false,
            }];
            let part = Part::EndpointSet(EndpointSet {
                name: (*name).into(),
                endpoints,
            });
            (part.key(), EncodedPart::encode(part))
        };
        names.iter().map(part).collect()
    }

    fn head(parts: &Parts) -> Vec<PartRef> {
        let line = |part: &EncodedPart| PartRef {
            kind: part.key().kind.number(),
            name: part.key().name.clone(),
            digest: part.digest(),
        };
        parts.values().map(line).collect()
    }

    #[test]
    fn equal_parts_need_no_version() {
        let same = parts(&[("a", 1), ("b", 2)]);
        let lines = head(&same);
        for head in [Head::Lines(&lines), Head::Parts(&same.clone())] {
            assert_eq!(plan("p", 3, head, &same, |_| false), None);
        }
    }

    #[test]
    fn only_what_differs_travels() {
        let (before, after) = (parts(&[("a", 1), ("b", 2)]), parts(&[("b", 3), ("c", 1)]));
        let lines = head(&before);
        let known = plan("p", 3, Head::Parts(&before), &after, |_| false);
        let plan = plan("p", 3, Head::Lines(&lines), &after, |_| false);
        assert_eq!(known, plan, "what is known of the head makes no difference");
        let plan = plan.expect("they differ");
        let names = |parts: &[ir::PartRef]| -> Vec<String> {
            parts.iter().map(|part| part.name.clone()).collect()
        };
        assert_eq!(names(&plan.commit.put), ["b", "c"]);
        assert_eq!(plan.commit.removed.len(), 1);
        assert_eq!(plan.commit.blobs.len(), 2);
        assert_eq!(plan.commit.parent, 3);
        assert!(plan.staged.is_empty());
    }

    #[test]
    fn stored_bytes_are_named_but_do_not_travel() {
        let after = parts(&[("a", 1)]);
        let plan = plan("p", 3, Head::Lines(&[]), &after, |_| true).expect("they differ");
        assert_eq!((plan.commit.put.len(), plan.commit.blobs.len()), (1, 0));
    }

    #[test]
    fn a_frozen_pool_follows_the_addresses_that_it_knows_and_nothing_else() {
        let (before, after) = (parts(&[("a", 1), ("b", 2)]), parts(&[("b", 3), ("c", 1)]));
        let before_lines = head(&before);
        let plan = addresses("p", 3, &before_lines, &before_lines, &after, |_| false);
        let plan = plan.expect("b differs");
        assert_eq!(plan.commit.put.len(), 1);
        assert_eq!(plan.commit.put[0].name, "b");
        assert!(plan.commit.removed.is_empty());
        let whole = parts(&[("a", 1), ("b", 3)]);
        let digest = manifest_digest(whole.iter().map(|(key, part)| (key, part.digest())));
        assert_eq!(*plan.commit.digest, *digest.as_bytes());
        let same = addresses("p", 3, &before_lines, &before_lines, &before, |_| false);
        assert_eq!(same, None);
    }

    #[test]
    fn an_older_manifest_comes_back_with_the_addresses_of_now() {
        let (older, now) = (parts(&[("a", 1), ("b", 2)]), parts(&[("a", 5), ("c", 1)]));
        let plan = addresses("p", 3, &head(&now), &head(&older), &now, |_| true);
        let commit = plan.expect("they differ").commit;
        assert_eq!(commit.put.len(), 1, "a has the addresses of now already");
        assert_eq!((&*commit.put[0].name, &*commit.removed[0].name), ("b", "c"));
    }

    #[test]
    fn many_bytes_are_staged_ahead_of_the_commit() {
        let names: Vec<String> = (0..40_000)
            .map(|index| format!("endpoints-{index:06}"))
            .collect();
        let names: Vec<(&str, u16)> = names.iter().map(|name| (name.as_str(), 80)).collect();
        let plan = plan("p", 0, Head::Lines(&[]), &parts(&names), |_| false).expect("all is new");
        assert!(plan.staged.len() > 1);
        assert!(
            plan.staged
                .iter()
                .all(|batch| batch.encoded_len() < 1 << 20)
        );
        let staged: usize = plan.staged.iter().map(|batch| batch.blobs.len()).sum();
        assert_eq!(staged + plan.commit.blobs.len(), 40_000);
    }
}

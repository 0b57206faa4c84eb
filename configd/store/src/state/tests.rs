//! The state agrees with a plain model, whatever the commands.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tidegate_proto::{
    ir::v1::{Blob, PartKey as WireKey, PartRef as WireRef},
    objects::v1::{Object, ObjectKey as WireObjectKey, Precondition},
};

use tidegate_proto::raft::v1::{change_pool::Change, change_source};

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_proto::{
    objects::v1::{Operation, operation, precondition},
    raft::v1,
};

use super::*;

mod sources;

/// A step of a generated history: what to do, to which thing, with which content.
type Step = (u8, u8, u8);

/// Histories of up to 60 steps.
pub(crate) fn commands() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_u8..5, 0_u8..7, any::<u8>()), 0..60)
}

/// The same with what sources do.
pub(crate) fn any_commands() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_u8..12, 0_u8..7, any::<u8>()), 0..60)
}

/// Makes commands of steps and applies them, so that commits have the right parent.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) state: State,
    index: u64,
}

impl Model {
    /// The command of a step; it is also applied.
    pub(crate) fn command(&mut self, &(what, which, content): &Step) -> Command {
        let command = match what {
            0 => put(
                vec![put_op(which, content), put_op(which + 1, content / 2)],
                "",
            ),
            1 => put(vec![delete_op(which)], &format!("request-{which}")),
            2 => Command::StageBlobs(v1::StageBlobs {
                blobs: vec![blob(content % 16)],
            }),
            4 => change(pool_change(which, u64::from(content % 8))),
            7..=11 => self.of_source(what, which, content),
            _ => {
                let head = self
                    .state
                    .pools
                    .get("pool")
                    .map_or(0, History::head_version);
                let removed = if content % 3 == 0 {
                    vec![which + 1]
                } else {
                    vec![]
                };
                commit(head, &[(which, content % 16)], &removed, &[content % 16])
            }
        };
        self.apply(&command);
        command
    }

    fn of_source(&self, what: u8, which: u8, content: u8) -> Command {
        let source = self.state.sources.get("files");
        let session = source.and_then(|source| source.session.as_ref());
        let (id, next) = session.map_or((9, 1), |session| (session.id, session.sequence + 1));
        match what {
            7 => sources::open(if which < 2 { "other" } else { "" }),
            8 => sources::batch(
                id,
                next - u64::from(which == 6),
                vec![put_op(which, content)],
            ),
            9 => sources::stage(id, 0, 0, &[which, which + 1]),
            10 => sources::set_in(id, next, &[which], content),
            _ => {
                let of_none = v1::SourcePolicy {
                    hold_min: Some(0),
                    hold_percent: Some(u32::from(which)),
                    ..v1::SourcePolicy::default()
                };
                sources::change(change_source::Change::Policy(of_none))
            }
        }
    }

    fn apply(&mut self, command: &Command) -> Effects {
        self.index += 1;
        self.state.apply(self.index, command)
    }
}

fn pool_change(what: u8, version: u64) -> Change {
    let note = v1::Note {
        by: "anna".to_owned(),
        reason: "a test".to_owned(),
        at_unix_ms: 7,
    };
    match what {
        0 => Change::Freeze(note),
        1 => Change::Unfreeze(note),
        2 => Change::Unpin(version),
        3 => Change::Unlabel("good".to_owned()),
        4 => Change::Pin(version),
        _ => Change::Label(v1::Label {
            name: "good".to_owned(),
            version,
        }),
    }
}

fn change(change: Change) -> Command {
    Command::ChangePool(v1::ChangePool {
        pool: "pool".to_owned(),
        head: 0,
        change: Some(change),
    })
}

fn wire_key(name: u8) -> WireObjectKey {
    WireObjectKey {
        source: "files".to_owned(),
        kind: "HTTPRoute".to_owned(),
        namespace: "shop".to_owned(),
        name: format!("route-{name}"),
        ..WireObjectKey::default()
    }
}

fn put_op(name: u8, content: u8) -> Operation {
    let object = Object {
        key: Some(wire_key(name)),
        content: vec![content].into(),
        ..Object::default()
    };
    Operation {
        operation: Some(operation::Operation::Put(object)),
        precondition: None,
    }
}

fn delete_op(name: u8) -> Operation {
    Operation {
        operation: Some(operation::Operation::Delete(wire_key(name))),
        precondition: None,
    }
}

fn put(operations: Vec<Operation>, request_id: &str) -> Command {
    let (source, request_id) = ("files".to_owned(), request_id.to_owned());
    Command::PutObjects(v1::PutObjects {
        source,
        operations,
        request_id,
        ..v1::PutObjects::default()
    })
}

fn content(of: u8) -> Vec<u8> {
    format!("part {of}").into_bytes()
}

fn digest(of: u8) -> Digest {
    Digest::of(&content(of))
}

fn wire_digest(of: u8) -> Bytes {
    Bytes::copy_from_slice(digest(of).as_bytes())
}

fn blob(of: u8) -> Blob {
    Blob {
        digest: wire_digest(of),
        content: content(of).into(),
    }
}

fn commit(parent: u64, put: &[(u8, u8)], removed: &[u8], blobs: &[u8]) -> Command {
    let name = |name: u8| format!("part-{name}");
    let put = put.iter().map(|&(part, of)| WireRef {
        kind: 2,
        name: name(part),
        digest: wire_digest(of),
    });
    let removed = removed.iter().map(|&part| WireKey {
        kind: 2,
        name: name(part),
    });
    Command::CommitSnapshot(v1::CommitSnapshot {
        pool: "pool".to_owned(),
        parent,
        digest: wire_digest(0),
        put: put.collect(),
        removed: removed.collect(),
        blobs: blobs.iter().map(|&of| blob(of)).collect(),
        ..v1::CommitSnapshot::default()
    })
}

fn lines(model: &Model, version: u64) -> Vec<(String, Digest)> {
    let manifest = model.state.pools["pool"].manifest(version).unwrap();
    manifest
        .into_iter()
        .map(|part| (part.name.to_string(), part.digest))
        .collect()
}

proptest! {
    #[test]
    fn objects_equal_a_plain_map(steps in commands()) {
        let mut model = Model::default();
        let mut plain: BTreeMap<u8, u8> = BTreeMap::new();
        let mut asked = std::collections::BTreeSet::new();
        for step in steps {
            let before = plain.clone();
            let revision = model.state.revision;
            let (what, which, content) = step;
            match what {
                0 => {
                    plain.insert(which, content);
                    plain.insert(which + 1, content / 2);
                }
                1 if asked.insert(which) => drop(plain.remove(&which)),
                _ => {}
            }
            model.command(&step);
            prop_assert_eq!(model.state.revision != revision, before != plain);
            let stored: BTreeMap<String, u8> = model.state.objects.iter()
                .map(|(key, object)| (key.name().to_string(), object.content[0])).collect();
            let plain: BTreeMap<String, u8> =
                plain.iter().map(|(name, content)| (format!("route-{name}"), *content)).collect();
            prop_assert_eq!(stored, plain);
        }
    }

    #[test]
    fn every_retained_version_can_be_rebuilt(steps in commands()) {
        let mut model = Model::default();
        let mut manifests: Vec<Vec<(String, Digest)>> = Vec::new();
        for step in steps {
            model.command(&step);
            let head = model.state.pools.get("pool").map_or(0, History::head_version);
            if head > manifests.len() as u64 {
                manifests.push(lines(&model, head));
            }
        }
        for (version, expected) in (1..).zip(&manifests) {
            prop_assert_eq!(&lines(&model, version), expected);
        }
        for (from, older) in (1..).zip(&manifests) {
            let to = manifests.len() as u64;
            let mut parts: BTreeMap<String, Digest> = older.iter().cloned().collect();
            for change in model.state.pools["pool"].delta(from, to).unwrap() {
                prop_assert_eq!(parts.get(&*change.name), change.before.as_ref());
                match change.after {
                    Some(digest) => parts.insert(change.name.to_string(), digest),
                    None => parts.remove(&*change.name),
                };
            }
            prop_assert_eq!(parts.into_iter().collect::<Vec<_>>(), manifests[to as usize - 1].clone());
        }
    }

    #[test]
    fn a_part_is_kept_exactly_as_long_as_something_names_it(steps in any_commands()) {
        let mut model = Model::default();
        for step in steps {
            model.command(&step);
        }
        assert_uses(&model.state);
    }
}

/// Every part is counted as often as versions name it.
fn assert_uses(state: &State) {
    let mut uses: BTreeMap<Digest, u32> = state.blobs.keys().map(|digest| (*digest, 0)).collect();
    let histories = state.pools.values();
    let heads = histories.clone().flat_map(|history| history.head.values());
    let older = histories
        .flat_map(|history| &history.versions)
        .flat_map(|version| version.changes.iter())
        .filter_map(|change| change.before.as_ref());
    for digest in heads.chain(older) {
        *uses.get_mut(digest).expect("what is named is stored") += 1;
    }
    for (digest, stored) in &state.blobs {
        assert_eq!(uses[digest], stored.uses, "{digest}");
    }
}

/// Commits version after version of one part, until the head is `to`.
fn commit_until(model: &mut Model, to: u64) {
    let pool = model.state.pools.get("pool");
    for parent in pool.map_or(0, History::head_version)..to {
        let content = format!("content {}", parent + 1).into_bytes();
        let digest = Bytes::copy_from_slice(Digest::of(&content).as_bytes());
        let part = WireRef {
            kind: 2,
            name: format!("part-{}", parent % 3),
            digest: digest.clone(),
        };
        model.apply(&Command::CommitSnapshot(v1::CommitSnapshot {
            pool: "pool".to_owned(),
            parent,
            digest: wire_digest(0),
            put: vec![part],
            blobs: vec![Blob {
                digest,
                content: content.into(),
            }],
            ..v1::CommitSnapshot::default()
        }));
    }
}

#[test]
fn pinned_and_labelled_versions_outlive_those_around_them() {
    let mut model = Model::default();
    commit_until(&mut model, 10);
    let (pinned, labelled) = (lines(&model, 2), lines(&model, 7));
    model.apply(&change(Change::Pin(2)));
    model.apply(&change(pool_change(5, 7)));
    commit_until(&mut model, 1_020);
    let history = &model.state.pools["pool"];
    let kept: Vec<u64> = history.versions.iter().map(|v| v.meta.version).collect();
    assert_eq!(kept.len(), 1_000);
    assert_eq!(kept[..3], [2, 7, 23]);
    assert_eq!(lines(&model, 2), pinned);
    assert_eq!(lines(&model, 7), labelled);
    assert_eq!(history.delta(2, 7).unwrap().len(), 3);
    assert_uses(&model.state);

    model.apply(&change(Change::Unpin(2)));
    commit_until(&mut model, 1_021);
    let history = &model.state.pools["pool"];
    assert!(history.meta(2).is_none());
    assert_eq!(lines(&model, 7), labelled);
    assert_uses(&model.state);
}

#[test]
fn a_frozen_pool_takes_only_what_is_meant_for_it() {
    let mut model = Model::default();
    model.apply(&commit(0, &[(1, 1)], &[], &[1]));
    model.apply(&change(pool_change(0, 0)));
    let before = model.state.clone();
    let compiled = commit(1, &[(1, 2)], &[], &[2]);
    assert_eq!(model.apply(&compiled).outcome, Outcome::Frozen);
    assert_eq!(model.state, before);
    let Command::CommitSnapshot(mut meant) = compiled.clone() else {
        panic!("it is a commit");
    };
    meant.while_frozen = true;
    let outcome = model.apply(&Command::CommitSnapshot(meant)).outcome;
    assert_eq!(outcome, Outcome::Committed { version: 2 });
    model.apply(&change(pool_change(1, 0)));
    let marks = &model.state.pools["pool"].marks;
    assert!(marks.freeze.is_none() && marks.unfrozen.is_some());
    let outcome = model.apply(&commit(2, &[(1, 3)], &[], &[3])).outcome;
    assert_eq!(outcome, Outcome::Committed { version: 3 });
    assert!(model.state.pools["pool"].marks.unfrozen.is_none());
}

#[test]
fn a_version_that_is_not_kept_cannot_be_pinned_or_named() {
    let mut model = Model::default();
    model.apply(&commit(0, &[(1, 1)], &[], &[1]));
    for wrong in [Change::Pin(9), pool_change(5, 9)] {
        let outcome = model.apply(&change(wrong)).outcome;
        assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome}");
    }
    let digits = v1::Label {
        name: "12".to_owned(),
        version: 1,
    };
    let outcome = model.apply(&change(Change::Label(digits))).outcome;
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome}");
}

#[test]
fn a_change_that_expects_another_head_is_refused() {
    let mut model = Model::default();
    model.apply(&commit(0, &[(1, 1)], &[], &[1]));
    let change = Command::ChangePool(v1::ChangePool {
        pool: "pool".to_owned(),
        head: 4,
        change: Some(pool_change(0, 0)),
    });
    let outcome = model.apply(&change).outcome;
    assert_eq!(outcome, Outcome::ParentMismatch { head: 1 });
    assert!(model.state.pools["pool"].marks.freeze.is_none());
}

#[test]
fn a_batch_with_one_failed_precondition_changes_nothing() {
    let mut model = Model::default();
    model.apply(&put(vec![put_op(1, 1)], ""));
    let mut guarded = put_op(1, 2);
    guarded.precondition = Some(Precondition {
        condition: Some(precondition::Condition::Absent(true)),
    });
    let before = model.state.clone();
    let effects = model.apply(&put(vec![put_op(2, 2), guarded], ""));
    let key = ObjectKey::from(wire_key(1));
    assert_eq!(
        effects.outcome,
        Outcome::PreconditionFailed {
            index: 1,
            key,
            found: Some(1)
        }
    );
    assert_eq!(model.state, before);
}

#[test]
fn a_compare_and_set_on_the_right_revision_is_stored() {
    let mut model = Model::default();
    model.apply(&put(vec![put_op(1, 1)], ""));
    let mut guarded = put_op(1, 2);
    guarded.precondition = Some(Precondition {
        condition: Some(precondition::Condition::Revision(1)),
    });
    assert_eq!(
        model.apply(&put(vec![guarded.clone()], "")).outcome,
        Outcome::Applied {
            revision: 2,
            changed: 1
        }
    );
    let again = model.apply(&put(vec![guarded], "")).outcome;
    assert!(
        matches!(again, Outcome::PreconditionFailed { found: Some(2), .. }),
        "{again}"
    );
}

#[test]
fn a_batch_for_another_object_set_is_refused_and_may_be_tried_again() {
    let mut model = Model::default();
    model.apply(&put(vec![put_op(1, 1)], ""));
    let on_base = |base_revision| {
        let Command::PutObjects(put) = put(vec![put_op(1, 2)], "once") else {
            panic!("it is a batch");
        };
        Command::PutObjects(v1::PutObjects {
            base_revision: Some(base_revision),
            ..put
        })
    };
    model.apply(&put(vec![put_op(2, 1)], ""));
    let moved = model.apply(&on_base(1)).outcome;
    assert_eq!(moved, Outcome::BaseMoved { revision: 2 });
    let stored = model.apply(&on_base(2)).outcome;
    assert!(
        matches!(stored, Outcome::Applied { changed: 1, .. }),
        "{stored}"
    );
}

#[test]
fn a_batch_that_changes_nothing_keeps_the_revision() {
    let mut model = Model::default();
    model.apply(&put(vec![put_op(1, 1)], ""));
    let effects = model.apply(&put(vec![put_op(1, 1), put_op(2, 1), delete_op(2)], ""));
    assert_eq!(
        effects.outcome,
        Outcome::Applied {
            revision: 1,
            changed: 0
        }
    );
    assert!(effects.changed.is_empty());
}

#[test]
fn a_repeated_request_is_answered_as_the_first_until_1024_others_came() {
    let mut model = Model::default();
    let first = model.apply(&put(vec![put_op(1, 1)], "a")).outcome;
    model.apply(&put(vec![delete_op(1)], "b"));
    assert_eq!(model.apply(&put(vec![put_op(1, 1)], "a")).outcome, first);
    assert!(model.state.objects.is_empty());
    for other in 0..1_024 {
        model.apply(&put(vec![delete_op(1)], &format!("other-{other}")));
    }
    assert_eq!(
        model.apply(&put(vec![put_op(1, 1)], "a")).outcome,
        Outcome::Applied {
            revision: 3 + 1_024 + 1,
            changed: 1
        }
    );
}

#[test]
fn a_commit_on_an_older_parent_is_refused_with_the_head() {
    let mut model = Model::default();
    assert_eq!(
        model.apply(&commit(0, &[(1, 1)], &[], &[1])).outcome,
        Outcome::Committed { version: 1 }
    );
    assert_eq!(
        model.apply(&commit(1, &[(1, 2)], &[], &[2])).outcome,
        Outcome::Committed { version: 2 }
    );
    let before = model.state.clone();
    assert_eq!(
        model.apply(&commit(1, &[(1, 3)], &[], &[3])).outcome,
        Outcome::ParentMismatch { head: 2 }
    );
    assert_eq!(model.state, before);
}

#[test]
fn a_commit_that_names_unknown_bytes_is_refused_with_their_digests() {
    let mut model = Model::default();
    model.apply(&Command::StageBlobs(v1::StageBlobs {
        blobs: vec![blob(1)],
    }));
    let effects = model.apply(&commit(0, &[(1, 1), (2, 2), (3, 3)], &[], &[3]));
    assert_eq!(
        effects.outcome,
        Outcome::MissingBlobs {
            digests: vec![digest(2)]
        }
    );
    assert!(model.state.pools.is_empty());
    assert!(
        !model.state.blobs.contains_key(&digest(3)),
        "a refused commit leaves its parts behind"
    );
}

#[test]
fn a_part_whose_bytes_have_another_name_is_refused() {
    let mut wrong = blob(1);
    wrong.content = b"other".to_vec().into();
    let outcome = Model::default()
        .apply(&Command::StageBlobs(v1::StageBlobs { blobs: vec![wrong] }))
        .outcome;
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome}");
}

#[test]
fn a_key_of_another_source_is_refused_with_its_place() {
    let mut foreign = put_op(1, 1);
    if let Some(operation::Operation::Put(object)) = &mut foreign.operation {
        object.key.as_mut().unwrap().source = "other".to_owned();
    }
    let outcome = Model::default()
        .apply(&put(vec![put_op(0, 0), foreign], ""))
        .outcome;
    let reason = "operations[1]: key.source is \"other\", the batch's is \"files\"".to_owned();
    assert_eq!(outcome, Outcome::Refused { reason });
}

#[test]
fn the_oldest_versions_go_and_so_do_the_packs_that_only_they_used() {
    let mut model = Model::default();
    let mut released = Vec::new();
    for version in 0..1_010_u64 {
        let content = format!("content {version}").into_bytes();
        let digest = Bytes::copy_from_slice(Digest::of(&content).as_bytes());
        let part = WireRef {
            kind: 2,
            name: "a".to_owned(),
            digest: digest.clone(),
        };
        let effects = model.apply(&Command::CommitSnapshot(v1::CommitSnapshot {
            pool: "pool".to_owned(),
            parent: version,
            digest: wire_digest(0),
            put: vec![part],
            blobs: vec![Blob {
                digest,
                content: content.into(),
            }],
            ..v1::CommitSnapshot::default()
        }));
        released.extend(effects.released);
    }
    let history = &model.state.pools["pool"];
    assert_eq!(history.versions.len(), 1_000);
    assert_eq!(
        (history.meta(10), history.meta(11).map(|meta| meta.parent)),
        (None, Some(10))
    );
    assert_eq!(released, (1..=10).collect::<Vec<_>>());
    assert!(history.manifest(11).is_some() && history.manifest(10).is_none());
    assert!(history.delta(11, 1_010).is_some() && history.delta(10, 1_010).is_none());
}

#[test]
fn staged_parts_that_nobody_names_go_after_ten_thousand_entries() {
    let mut model = Model::default();
    model.apply(&Command::StageBlobs(v1::StageBlobs {
        blobs: vec![blob(1), blob(2)],
    }));
    model.apply(&commit(0, &[(1, 1)], &[], &[]));
    model.index += 10_000;
    let effects = model.apply(&put(vec![delete_op(1)], ""));
    assert!(
        effects.released.is_empty(),
        "the other part of the pack is in use"
    );
    assert!(model.state.blobs.contains_key(&digest(1)));
    assert!(!model.state.blobs.contains_key(&digest(2)));
}

#[test]
fn a_version_with_one_changed_part_of_ten_thousand_keeps_the_others() {
    let mut model = Model::default();
    let parts: Vec<WireRef> = (0..10_000)
        .map(|part| WireRef {
            kind: 2,
            name: format!("part-{part}"),
            digest: wire_digest(1),
        })
        .collect();
    let Command::CommitSnapshot(mut first) = commit(0, &[], &[], &[1]) else {
        unreachable!()
    };
    first.put = parts;
    model.apply(&Command::CommitSnapshot(first));
    for version in 1..=100 {
        let effects = model.apply(&commit(
            version,
            &[(7, 2 + u8::try_from(version % 2).unwrap())],
            &[],
            &[2, 3],
        ));
        assert_eq!(
            effects.outcome,
            Outcome::Committed {
                version: version + 1
            }
        );
    }
    let history = model.state.pools.values().next().unwrap();
    let changed = history.delta(1, 101).unwrap();
    assert_eq!(history.newest().unwrap().parts, 10_000);
    assert_eq!(changed.len(), 1);
}

//! Sessions, full sets and what waits to be confirmed agree with a plain model.

use tidegate_proto::raft::v1::{change_source, session_write::Write};

use super::*;
use crate::source::{Quota, SourceRefusal};

/// What one of two writers of a source does: which writer, what, to which object, with which content.
type Step = (usize, u8, u8, u8);

/// The source that the writers feed.
const SOURCE: &str = "files";

pub(super) fn open(incarnation: &str) -> Command {
    Command::OpenSession(v1::OpenSession {
        source: SOURCE.to_owned(),
        by: "a test".to_owned(),
        incarnation: incarnation.to_owned(),
        ..v1::OpenSession::default()
    })
}

pub(super) fn batch(session: u64, sequence: u64, operations: Vec<Operation>) -> Command {
    let Command::PutObjects(put) = put(operations, "") else {
        unreachable!()
    };
    Command::SessionWrite(v1::SessionWrite {
        session,
        sequence,
        at_unix_ms: 7,
        write: Some(Write::PutObjects(put)),
    })
}

fn objects(names: &[u8], content: u8) -> Vec<Object> {
    let object = |name: &u8| match put_op(*name, content).operation {
        Some(operation::Operation::Put(object)) => object,
        _ => unreachable!(),
    };
    names.iter().map(object).collect()
}

pub(super) fn stage(session: u64, stage: u64, offset: u64, names: &[u8]) -> Command {
    Command::StageObjects(v1::StageObjects {
        source: SOURCE.to_owned(),
        session,
        stage,
        offset,
        objects: objects(names, 3),
        kept: Vec::new(),
    })
}

fn set(names: &[u8], content: u8) -> v1::CommitStage {
    v1::CommitStage {
        source: SOURCE.to_owned(),
        objects: objects(names, content),
        count: names.len() as u64,
        at_unix_ms: 7,
        ..v1::CommitStage::default()
    }
}

fn end(stage: u64, count: u64) -> v1::CommitStage {
    v1::CommitStage {
        stage,
        count,
        ..set(&[], 0)
    }
}

pub(super) fn set_in(session: u64, sequence: u64, names: &[u8], content: u8) -> Command {
    Command::SessionWrite(v1::SessionWrite {
        session,
        sequence,
        at_unix_ms: 7,
        write: Some(Write::CommitStage(set(names, content))),
    })
}

pub(super) fn change(change: change_source::Change) -> Command {
    Command::ChangeSource(v1::ChangeSource {
        source: SOURCE.to_owned(),
        at_unix_ms: 7,
        change: Some(change),
    })
}

fn names(state: &State) -> BTreeMap<String, u8> {
    let named = |(key, object): (&ObjectKey, &Arc<StoredObject>)| {
        (key.name().to_string(), object.content[0])
    };
    state.objects.iter().map(named).collect()
}

fn source(model: &Model) -> &Source {
    &model.state.sources[SOURCE]
}

fn refused(outcome: Outcome) -> SourceRefusal {
    match outcome {
        Outcome::SourceRefused(refusal) => refusal,
        other => panic!("it is not refused: {other}"),
    }
}

fn opened(model: &mut Model) -> u64 {
    match model.apply(&open("")).outcome {
        Outcome::SessionOpened { session, .. } => session,
        other => panic!("no session: {other}"),
    }
}

/// One of two writers, as it sees itself.
#[derive(Default)]
struct Writer {
    session: u64,
    sequence: u64,
    last: Option<(Command, Outcome)>,
}

proptest! {
    #[test]
    fn whatever_two_writers_do_the_objects_are_those_of_acknowledged_batches(
        steps in prop::collection::vec((0_usize..2, 0_u8..9, 0_u8..7, any::<u8>()), 0..60),
    ) {
        let mut model = Model::default();
        let mut plain: BTreeMap<String, u8> = BTreeMap::new();
        let mut writers = [Writer::default(), Writer::default()];
        for (who, what, name, content) in steps as Vec<Step> {
            let newest = writers.iter().map(|writer| writer.session).max().unwrap_or_default();
            let writer = &mut writers[who];
            let (mine, next) = (writer.session, writer.sequence + 1);
            let before = model.state.clone();
            let command = match what {
                0 => {
                    (writer.session, writer.sequence) = (opened(&mut model), 0);
                    writer.last = None;
                    continue;
                }
                1 => batch(mine, next, vec![delete_op(name)]),
                2 => batch(mine, next + 1, vec![put_op(name, content)]),
                3 => match &writer.last {
                    Some((last, _)) => last.clone(),
                    None => continue,
                },
                4 => set_in(mine, next, &[name, name + 1], content),
                5 => stage(mine, 0, 0, &[name]),
                _ => batch(mine, next, vec![put_op(name, content)]),
            };
            let outcome = model.apply(&command).outcome;
            if mine == 0 {
                // Nobody opened session 0; staging without a session is allowed and changes no object.
                let staged = matches!(outcome, Outcome::ObjectsStaged { .. });
                prop_assert!(staged || matches!(outcome, Outcome::Refused { .. }), "{outcome}");
            } else if mine != newest {
                prop_assert_eq!(refused(outcome), SourceRefusal::Fenced { newest });
                prop_assert_eq!(&model.state, &before);
            } else if what == 2 {
                prop_assert_eq!(refused(outcome), SourceRefusal::SequenceGap { expected: next });
                prop_assert_eq!(&model.state, &before);
            } else if what == 3 {
                let first = Box::new(writer.last.clone().unwrap().1);
                prop_assert_eq!(outcome, Outcome::Replayed { first });
                prop_assert_eq!(&model.state.objects, &before.objects);
            } else if what != 5 {
                writer.sequence = next;
                writer.last = Some((command, outcome));
                let key = |name: u8| format!("route-{name}");
                match what {
                    1 => drop(plain.remove(&key(name))),
                    4 => plain = [(key(name), content), (key(name + 1), content)].into(),
                    _ => drop(plain.insert(key(name), content)),
                }
            }
            prop_assert_eq!(names(&model.state), plain.clone());
            let bytes = model.state.objects.values().map(|object| object.content.len() as u64);
            let counted = model.state.sources.get(SOURCE).cloned().unwrap_or_default();
            let found = (model.state.objects.len() as u64, bytes.sum());
            prop_assert_eq!((counted.objects, counted.bytes), found);
        }
    }

    #[test]
    fn whoever_knows_an_older_set_and_hears_the_changes_knows_the_newest(
        steps in prop::collection::vec((0_u8..3, 0_u8..7, any::<u8>()), 0..40), seen in 0_usize..40,
    ) {
        let mut model = Model::default();
        let mut known = (0, BTreeMap::new());
        for (at, (what, name, content)) in steps.into_iter().enumerate() {
            let operation = if what == 0 { delete_op(name) } else { put_op(name, content) };
            model.apply(&put(vec![operation], ""));
            if at == seen {
                known = (model.state.revision, model.state.objects.clone());
            }
        }
        let (revision, mut objects) = known;
        for (_, key) in model.state.tombstones.since(revision).unwrap() {
            objects.remove(key);
        }
        for object in model.state.objects.values().filter(|object| object.revision > revision) {
            objects.insert(object.key.clone(), object.clone());
        }
        prop_assert_eq!(objects, model.state.objects);
    }
}

#[test]
fn a_set_larger_than_an_entry_comes_in_pieces_and_at_once() {
    let mut model = Model::default();
    model.apply(&put(vec![put_op(9, 9)], ""));
    let session = opened(&mut model);
    let Outcome::ObjectsStaged { stage: id, objects } =
        model.apply(&stage(session, 0, 0, &[1, 2])).outcome
    else {
        panic!("it is staged");
    };
    assert_eq!(objects, 2);
    model.apply(&stage(session, id, 2, &[3]));
    assert_eq!(names(&model.state).len(), 1, "nothing of it is seen yet");
    let commit = Command::SessionWrite(v1::SessionWrite {
        session,
        sequence: 1,
        at_unix_ms: 7,
        write: Some(Write::CommitStage(end(id, 3))),
    });
    let effects = model.apply(&commit);
    let (revision, put, deleted) = (model.index, 3, 1);
    let resynced = Outcome::Resynced {
        revision,
        put,
        deleted,
        held: 0,
    };
    assert_eq!(effects.outcome, resynced);
    assert_eq!(effects.changed.len(), 4);
    assert!(source(&model).stage.is_none());
    let first = Box::new(resynced);
    assert_eq!(model.apply(&commit).outcome, Outcome::Replayed { first });
}

#[test]
fn a_set_with_another_number_of_objects_than_its_end_says_changes_nothing() {
    let mut model = Model::default();
    model.apply(&put(vec![put_op(9, 9)], ""));
    model.apply(&stage(0, 0, 0, &[1, 2]));
    let outcome = model.apply(&Command::CommitStage(end(2, 3))).outcome;
    assert_eq!(refused(outcome), SourceRefusal::Incomplete { found: 2 });
    let again = model.apply(&Command::CommitStage(end(2, 2))).outcome;
    assert_eq!(refused(again), SourceRefusal::StageLost);
    assert_eq!(names(&model.state).len(), 1);
}

#[test]
fn a_second_set_of_a_source_takes_the_place_of_the_first() {
    let mut model = Model::default();
    model.apply(&stage(0, 0, 0, &[1]));
    model.apply(&stage(0, 0, 0, &[2]));
    let late = model.apply(&stage(0, 1, 1, &[3])).outcome;
    assert_eq!(refused(late), SourceRefusal::StageLost);
}

#[test]
fn a_stage_that_nobody_adds_to_is_dropped() {
    let mut model = Model::default();
    model.apply(&stage(0, 0, 0, &[1]));
    model.index = 10_999;
    model.apply(&put(vec![delete_op(1)], ""));
    assert!(model.state.sources.is_empty());
}

#[test]
fn an_object_that_a_set_only_names_must_be_as_the_set_saw_it() {
    let mut model = Model::default();
    model.apply(&put(vec![put_op(1, 1)], ""));
    let named = |revision| {
        let key = Some(wire_key(1));
        Command::CommitStage(v1::CommitStage {
            kept: vec![v1::KeptObject { key, revision }],
            count: 1,
            ..set(&[], 0)
        })
    };
    let same = model.apply(&named(1)).outcome;
    assert!(matches!(same, Outcome::Resynced { put: 0, .. }), "{same}");
    model.apply(&put(vec![put_op(1, 2)], ""));
    let key = ObjectKey::from(wire_key(1));
    let moved = refused(model.apply(&named(1)).outcome);
    assert_eq!(moved, SourceRefusal::SetMoved { key });
}

/// A source of 40 objects, and a set that has lost most of them.
fn held() -> (Model, u64) {
    let mut model = Model::default();
    let many: Vec<u8> = (0..40).collect();
    model.apply(&Command::CommitStage(set(&many, 1)));
    let outcome = model.apply(&Command::CommitStage(set(&[0, 50], 2))).outcome;
    let revision = model.index;
    let (put, deleted, held) = (2, 0, 39);
    let expected = Outcome::Resynced {
        revision,
        put,
        deleted,
        held,
    };
    assert_eq!(outcome, expected);
    assert_eq!(names(&model.state).len(), 41);
    (model, revision)
}

#[test]
fn deletions_of_more_than_a_fifth_wait_until_they_are_confirmed() {
    let (mut model, id) = held();
    let wrong = model.apply(&change(change_source::Change::ConfirmDeletions(id - 1)));
    assert_eq!(refused(wrong.outcome), SourceRefusal::NotHeld { id });
    // An object that was changed meanwhile stays.
    model.apply(&put(vec![put_op(7, 7)], ""));
    let confirmed = model.apply(&change(change_source::Change::ConfirmDeletions(id)));
    let (revision, changed) = (model.index, 38);
    let applied = Outcome::Applied { revision, changed };
    assert_eq!(confirmed.outcome, applied);
    let left: Vec<_> = names(&model.state).into_keys().collect();
    assert_eq!(left, ["route-0", "route-50", "route-7"]);
    assert!(source(&model).held.is_none());
}

#[test]
fn a_later_set_that_has_the_objects_ends_the_hold() {
    let (mut model, _) = held();
    let most: Vec<u8> = (0..38).chain([50]).collect();
    let outcome = model.apply(&Command::CommitStage(set(&most, 1))).outcome;
    let ended = matches!(
        outcome,
        Outcome::Resynced {
            deleted: 2,
            held: 0,
            ..
        }
    );
    assert!(ended, "{outcome}");
    assert!(source(&model).held.is_none());
}

#[test]
fn a_set_that_says_so_deletes_at_once() {
    let (mut model, _) = held();
    let outcome = model.apply(&Command::CommitStage(v1::CommitStage {
        delete_at_once: true,
        ..set(&[0], 1)
    }));
    let expected = Outcome::Resynced {
        revision: model.index,
        put: 1,
        deleted: 40,
        held: 0,
    };
    assert_eq!(outcome.outcome, expected);
}

#[test]
fn another_incarnation_has_to_begin_with_a_full_set() {
    let mut model = Model::default();
    model.apply(&open("first"));
    model.apply(&batch(1, 1, vec![put_op(1, 1)]));
    let outcome = model.apply(&open("second")).outcome;
    let (session, resync_due) = (3, true);
    let expected = Outcome::SessionOpened {
        session,
        resync_due,
    };
    assert_eq!(outcome, expected);
    let early = model.apply(&batch(3, 1, vec![put_op(2, 2)])).outcome;
    assert_eq!(refused(early), SourceRefusal::ResyncDue);
    model.apply(&set_in(3, 1, &[2], 2));
    let outcome = model.apply(&batch(3, 2, vec![put_op(3, 3)])).outcome;
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome}");
}

#[test]
fn a_source_has_no_more_than_its_quota() {
    let mut model = Model::default();
    let policy = v1::SourcePolicy {
        objects_max: Some(2),
        ..v1::SourcePolicy::default()
    };
    model.apply(&change(change_source::Change::Policy(policy)));
    model.apply(&put(vec![put_op(1, 1), put_op(2, 2)], ""));
    let before = model.state.objects.clone();
    let over = SourceRefusal::OverQuota(Quota {
        what: "objects",
        limit: 2,
        found: 3,
    });
    let batch = put(vec![put_op(3, 3)], "");
    assert_eq!(refused(model.apply(&batch).outcome), over);
    let set = Command::CommitStage(set(&[1, 2, 3], 1));
    assert_eq!(refused(model.apply(&set).outcome), over);
    assert_eq!(model.state.objects, before);
    let swapped = put(vec![delete_op(1), put_op(3, 3)], "");
    let outcome = model.apply(&swapped).outcome;
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome}");
}

#[test]
fn a_silent_source_is_withdrawn_and_comes_back_with_a_full_set() {
    let mut model = Model::default();
    let session = opened(&mut model);
    model.apply(&batch(session, 1, vec![put_op(1, 1)]));
    let withdraw = change(change_source::Change::Withdraw(2));
    // Its policy is to keep what it has.
    let kept = refused(model.apply(&withdraw).outcome);
    assert_eq!(kept, SourceRefusal::NotSilent);
    let policy = v1::SourcePolicy {
        withdraw_after_ms: Some(60_000),
        ..v1::SourcePolicy::default()
    };
    model.apply(&change(change_source::Change::Policy(policy)));
    let early = change(change_source::Change::Withdraw(1));
    let heard = refused(model.apply(&early).outcome);
    assert_eq!(heard, SourceRefusal::NotSilent);
    model.apply(&withdraw);
    assert!(model.state.objects.is_empty());
    assert_eq!(source(&model).withdrawn_at_unix_ms, Some(7));
    let late = model.apply(&batch(session, 2, vec![put_op(1, 1)])).outcome;
    assert_eq!(refused(late), SourceRefusal::UnknownSession { newest: 0 });
    let session = opened(&mut model);
    let early = model.apply(&batch(session, 1, vec![put_op(1, 1)])).outcome;
    assert_eq!(refused(early), SourceRefusal::ResyncDue);
    model.apply(&set_in(session, 1, &[1], 1));
    assert_eq!(source(&model).withdrawn_at_unix_ms, None);
    assert_eq!(names(&model.state).len(), 1);
}

#[test]
fn no_session_goes_on_after_a_restore_and_none_has_its_number() {
    let mut model = Model::default();
    let old = opened(&mut model);
    model.state.begin_epoch(1_700_000_000_000);
    let gone = model.apply(&batch(old, 1, vec![put_op(1, 1)])).outcome;
    assert_eq!(refused(gone), SourceRefusal::UnknownSession { newest: 0 });
    assert!(opened(&mut model) > 1_700_000_000_000);
}

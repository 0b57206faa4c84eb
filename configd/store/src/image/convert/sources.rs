//! What is known of sources as records, and back.

use std::sync::Arc;

use tidegate_proto::raft::v1;

use super::wire::{self, Kind};
use crate::{
    ObjectKey,
    command::{outcome, outcome_wire},
    key::StoredObject,
    source::{Held, Session, Source, Stage},
    state::State,
};

/// Every source with what belongs to it, then the deletions that are remembered.
pub(super) fn records(state: &State) -> impl Iterator<Item = Kind> {
    let sources = state.sources.iter().flat_map(|(name, source)| {
        let session = source.session.iter();
        let outcomes = session.flat_map(|session| session.outcomes.iter());
        let outcomes = outcomes.map(move |outcome| {
            Kind::BatchOutcome(wire::BatchOutcome {
                source: name.to_string(),
                outcome: Some(outcome_wire(outcome)),
            })
        });
        let held = source.held.iter().flat_map(|held| &held.keys);
        let held = held.map(|(key, revision)| Kind::HeldKey(kept(key, *revision)));
        let stage = source.stage.iter();
        let objects = stage.clone().flat_map(|stage| stage.objects.values());
        let objects = objects.map(|object| wire::Staged {
            object: Some(object.to_proto()),
            kept: None,
        });
        let named = stage.flat_map(|stage| stage.kept.iter());
        let named = named.map(|(key, revision)| wire::Staged {
            object: None,
            kept: Some(kept(key, *revision)),
        });
        std::iter::once(Kind::Source(record(name, source)))
            .chain(outcomes)
            .chain(held)
            .chain(objects.chain(named).map(Kind::Staged))
    });
    let gone = state.tombstones.iter();
    sources.chain(gone.map(|(revision, key)| Kind::Tombstone(kept(key, *revision))))
}

/// Counts an object that its source has.
pub(super) fn count(state: &mut State, object: &StoredObject) {
    let name = &**object.key.source();
    if !state.sources.contains_key(name) {
        state.sources.insert(name.into(), Source::default());
    }
    if let Some(source) = state.sources.get_mut(name) {
        source.count(None, Some(object.content.len()));
    }
}

pub(super) fn read(state: &mut State, record: wire::Source) {
    let source = state.sources.entry(record.name.into()).or_default();
    source.session = record.session.map(read_session);
    source.resync_due = record.resync_due;
    source.resynced_at_unix_ms = record.resynced_at_unix_ms;
    source.withdrawn_at_unix_ms = record.withdrawn_at_unix_ms;
    source.policy = record.policy.unwrap_or_default().into();
    source.held = record.held.map(|held| {
        Arc::new(Held {
            id: held.id,
            at_unix_ms: held.at_unix_ms,
            of: held.of,
            ..Held::default()
        })
    });
    let stage = |stage: wire::Stage| Stage::new(stage.id, stage.touched, stage.session);
    source.stage = record.stage.map(stage).map(Arc::new);
}

pub(super) fn read_outcome(state: &mut State, record: wire::BatchOutcome) -> Result<(), String> {
    let source = state.sources.get_mut(record.source.as_str());
    let session = source.and_then(|source| source.session.as_mut());
    let session = session.ok_or("an outcome has no session")?;
    session.carried_out(outcome(record.outcome.unwrap_or_default())?);
    Ok(())
}

pub(super) fn read_held(state: &mut State, record: v1::KeptObject) -> Result<(), String> {
    let key: ObjectKey = record.key.ok_or("a held deletion has no key")?.into();
    let source = state.sources.get_mut(&**key.source());
    let held = source.and_then(|source| source.held.as_mut());
    let held = held.ok_or("a deletion is held by no source")?;
    Arc::make_mut(held).keys.insert(key, record.revision);
    Ok(())
}

pub(super) fn read_staged(state: &mut State, record: wire::Staged) -> Result<(), String> {
    let object = record.object.and_then(|stored| stored.object);
    let of_object = object.as_ref().and_then(|object| object.key.clone());
    let of_kept = record.kept.as_ref().and_then(|kept| kept.key.clone());
    let key: ObjectKey = of_object
        .or(of_kept)
        .ok_or("a staged object has no key")?
        .into();
    let source = state.sources.get_mut(&**key.source());
    let stage = source.and_then(|source| source.stage.as_mut());
    let stage = stage.ok_or("an object is staged by no source")?;
    let stage = Arc::make_mut(stage);
    match object {
        Some(object) => stage.restore(Arc::new(StoredObject::new(key, &object, 0))),
        None => stage.keep(key, record.kept.map_or(0, |kept| kept.revision)),
    }
    Ok(())
}

fn record(name: &str, source: &Source) -> wire::Source {
    wire::Source {
        name: name.to_owned(),
        session: source
            .session
            .as_ref()
            .map(|session| session_record(name, session)),
        resync_due: source.resync_due,
        resynced_at_unix_ms: source.resynced_at_unix_ms,
        withdrawn_at_unix_ms: source.withdrawn_at_unix_ms,
        policy: Some(source.policy.into()),
        held: source.held.as_ref().map(|held| wire::Held {
            id: held.id,
            at_unix_ms: held.at_unix_ms,
            of: held.of,
        }),
        stage: source.stage.as_ref().map(|stage| wire::Stage {
            id: stage.id,
            touched: stage.touched,
            session: stage.session,
        }),
    }
}

fn session_record(source: &str, session: &Session) -> wire::Session {
    wire::Session {
        id: session.id,
        opened: Some(v1::OpenSession {
            source: source.to_owned(),
            by: session.by.clone(),
            incarnation: session.incarnation.clone(),
            lease_ms: session.lease_ms,
            at_unix_ms: session.opened_at_unix_ms,
        }),
        renewed: session.renewed,
        renewed_at_unix_ms: session.renewed_at_unix_ms,
        forgotten: session.sequence - session.outcomes.len() as u64,
    }
}

/// The outcomes follow, and count on from those that are forgotten.
fn read_session(record: wire::Session) -> Session {
    let opened = record.opened.unwrap_or_default();
    Session {
        id: record.id,
        by: opened.by,
        incarnation: opened.incarnation,
        opened_at_unix_ms: opened.at_unix_ms,
        lease_ms: opened.lease_ms,
        renewed: record.renewed,
        renewed_at_unix_ms: record.renewed_at_unix_ms,
        sequence: record.forgotten,
        ..Session::default()
    }
}

fn kept(key: &ObjectKey, revision: u64) -> v1::KeptObject {
    v1::KeptObject {
        key: Some(key.clone().into()),
        revision,
    }
}

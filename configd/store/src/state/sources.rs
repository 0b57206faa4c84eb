//! Sources: sessions, full sets, leases and what waits to be confirmed.

use std::sync::Arc;

use tidegate_proto::raft::v1::{self, change_source::Change, session_write::Write};

use super::{
    State,
    objects::{Plan, count},
};
use crate::{
    command::Outcome,
    key::{ObjectKey, StoredObject},
    source::{
        Admission, Held, Quota, STAGE_ENTRIES_MAX, STAGES_BYTES_MAX, Session, Source,
        SourceRefusal, Stage,
    },
};

impl State {
    /// Keeps what is known of a source, unless it is nothing.
    pub(super) fn keep_source(&mut self, name: &str, source: Source) {
        if !source.is_nothing() {
            self.sources.insert(name.into(), source);
        }
    }

    /// The source and its objects, without going through those of others.
    pub(crate) fn objects_of<'s>(
        &'s self,
        source: &'s str,
    ) -> impl Iterator<Item = &'s Arc<StoredObject>> {
        let first = ObjectKey {
            source: source.to_owned(),
            group: String::new(),
            kind: String::new(),
            namespace: String::new(),
            name: String::new(),
        };
        let from = self.objects.range(first..);
        let own = from.take_while(move |(key, _)| key.source == source);
        own.map(|(_, object)| object)
    }

    /// No session of the epoch before goes on, and none has the number of one of them.
    pub(super) fn end_sessions(&mut self, now_unix_ms: i64) {
        let now = u64::try_from(now_unix_ms).unwrap_or_default();
        self.session_base = now.max(self.session_base + 1);
        for source in self.sources.values_mut() {
            source.session = None;
            source.stage = None;
        }
    }

    pub(super) fn open_session(&mut self, index: u64, open: &v1::OpenSession) -> Outcome {
        if let Err(refused) = self.room_for_source(&open.source) {
            return refused;
        }
        let id = self.session_base + index;
        let source = self.sources.entry(open.source.as_str().into()).or_default();
        let before = source.session.take();
        let another = before.is_some_and(|before| before.incarnation != open.incarnation);
        source.resync_due |= another && source.objects > 0;
        source.stage = None;
        source.session = Some(Session {
            id,
            by: open.by.clone(),
            incarnation: open.incarnation.clone(),
            opened_at_unix_ms: open.at_unix_ms,
            lease_ms: open.lease_ms,
            renewed: index,
            renewed_at_unix_ms: open.at_unix_ms,
            ..Session::default()
        });
        Outcome::SessionOpened {
            session: id,
            resync_due: source.resync_due,
        }
    }

    pub(super) fn write_in_session(
        &mut self,
        index: u64,
        write: &v1::SessionWrite,
        changed: &mut Vec<ObjectKey>,
    ) -> Outcome {
        let source = match &write.write {
            Some(Write::PutObjects(put)) => &put.source,
            Some(Write::CommitStage(commit)) => &commit.source,
            None => return Outcome::None,
        };
        let session = self.session(source, write.session);
        match session.and_then(|session| session.admit(write.sequence)) {
            Err(refusal) => return Outcome::SourceRefused(refusal),
            Ok(Admission::Replayed(first)) => {
                if let Some(Write::CommitStage(commit)) = &write.write {
                    self.take_stage(source, commit.stage, write.session);
                }
                let first = Box::new(first);
                return Outcome::Replayed { first };
            }
            Ok(Admission::Next) => {}
        }
        let due = self.sources.get(source.as_str());
        let due = due.is_some_and(|source| source.resync_due);
        let outcome = match &write.write {
            Some(Write::PutObjects(_)) if due => {
                return Outcome::SourceRefused(SourceRefusal::ResyncDue);
            }
            Some(Write::PutObjects(put)) => self.carry_out(index, put, changed),
            Some(Write::CommitStage(commit)) => {
                self.commit_stage(index, write.session, commit, changed)
            }
            None => Outcome::None,
        };
        if let Some(session) = self.session_mut(source) {
            session.carried_out(outcome.clone());
            session.renew(index, write.at_unix_ms);
        }
        outcome
    }

    pub(super) fn stage_objects(&mut self, index: u64, piece: &v1::StageObjects) -> Outcome {
        let refused = |refusal| Outcome::SourceRefused(refusal);
        if piece.session != 0
            && let Err(refusal) = self.session(&piece.source, piece.session)
        {
            return refused(refusal);
        }
        if let Err(full) = self.room_for_source(&piece.source) {
            return full;
        }
        let staged = self.take_stage(&piece.source, piece.stage, piece.session);
        let mut stage = match staged {
            Some(stage) if stage.len() == piece.offset => stage,
            None if piece.stage == 0 && piece.offset == 0 => {
                Arc::new(Stage::new(index, index, piece.session))
            }
            _ => return refused(SourceRefusal::StageLost),
        };
        let added = Arc::make_mut(&mut stage);
        added.touched = index;
        added.add(&piece.objects, &piece.kept);
        if let Err(refusal) = stage.fits().and_then(|()| self.room_for_stage(&stage)) {
            return refused(refusal);
        }
        let (stage_id, objects) = (stage.id, stage.len());
        let source = self
            .sources
            .entry(piece.source.as_str().into())
            .or_default();
        source.stage = Some(stage);
        Outcome::ObjectsStaged {
            stage: stage_id,
            objects,
        }
    }

    /// Swaps a full set in. Whatever it comes to, its stage is gone.
    pub(super) fn commit_stage(
        &mut self,
        index: u64,
        session: u64,
        commit: &v1::CommitStage,
        changed: &mut Vec<ObjectKey>,
    ) -> Outcome {
        let stage = self.take_stage(&commit.source, commit.stage, session);
        let stage = stage.or_else(|| (commit.stage == 0).then(Arc::default));
        let Some(mut stage) = stage else {
            return Outcome::SourceRefused(SourceRefusal::StageLost);
        };
        Arc::make_mut(&mut stage).add(&commit.objects, &commit.kept);
        match self.swap(index, &stage, commit) {
            Ok(swap) => {
                self.store(index, &commit.source, swap.plan, changed);
                let mut source = self.sources.remove(&*commit.source).unwrap_or_default();
                let held = swap.held.as_ref().map_or(0, |held| held.keys.len());
                source.held = swap.held.map(Arc::new);
                source.resync_due = false;
                source.withdrawn_at_unix_ms = None;
                source.resynced_at_unix_ms = commit.at_unix_ms;
                self.keep_source(&commit.source, source);
                Outcome::Resynced {
                    revision: self.revision,
                    put: swap.put,
                    deleted: swap.deleted,
                    held: count(held),
                }
            }
            Err(refused) => refused,
        }
    }

    /// What a full set would come to, if it were swapped in now.
    pub(crate) fn preview_stage(&self, commit: &v1::CommitStage) -> Outcome {
        let mut stage = Stage::default();
        stage.add(&commit.objects, &commit.kept);
        match self.swap(self.revision + 1, &stage, commit) {
            Ok(swap) => Outcome::Resynced {
                revision: self.revision,
                put: swap.put,
                deleted: swap.deleted,
                held: count(swap.held.map_or(0, |held| held.keys.len())),
            },
            Err(refused) => refused,
        }
    }

    #[allow(
        clippy::result_large_err,
        reason = "the error is the answer, and it is moved once"
    )]
    fn swap(&self, index: u64, stage: &Stage, commit: &v1::CommitStage) -> Result<Swap, Outcome> {
        self.whole(stage, commit.count)
            .map_err(Outcome::SourceRefused)?;
        let mut plan = Plan::new();
        for (key, object) in &stage.objects {
            let stored = self.objects.get(key);
            if stored.is_none_or(|stored| !stored.same_as(object)) {
                let object = StoredObject {
                    revision: index,
                    ..(**object).clone()
                };
                plan.insert(key.clone(), Some(Arc::new(object)));
            }
        }
        let put = count(plan.len());
        let named =
            |key: &ObjectKey| stage.objects.contains_key(key) || stage.kept.contains_key(key);
        let gone = self.objects_of(&commit.source);
        let gone = gone.filter(|object| !named(&object.key));
        let gone = gone.map(|object| (object.key.clone(), object.revision));
        let gone: Vec<_> = gone.collect();
        let source = self.sources.get(&*commit.source);
        let of = source.map_or(0, |source| source.objects);
        let policy = source.map(|source| source.policy).unwrap_or_default();
        let mut swap = Swap {
            plan,
            put,
            deleted: 0,
            held: None,
        };
        if !commit.delete_at_once && policy.holds(gone.len() as u64, of) {
            swap.held = Some(Held {
                id: index,
                at_unix_ms: commit.at_unix_ms,
                of,
                keys: gone.into_iter().collect(),
            });
        } else {
            swap.deleted = count(gone.len());
            swap.plan
                .extend(gone.into_iter().map(|(key, _)| (key, None)));
        }
        self.room(&commit.source, &swap.plan)?;
        Ok(swap)
    }

    /// Whether a set is within its bounds, as large as its end says, and names only objects that are as it saw them.
    fn whole(&self, stage: &Stage, stated: u64) -> Result<(), SourceRefusal> {
        stage.fits()?;
        if stage.len() != stated {
            return Err(SourceRefusal::Incomplete { found: stage.len() });
        }
        let as_seen = |key: &ObjectKey, revision: u64| {
            let stored = self.objects.get(key);
            stored.is_some_and(|stored| stored.revision == revision)
        };
        let mut kept = stage.kept.iter();
        match kept.find(|(key, revision)| !as_seen(key, **revision)) {
            Some((key, _)) => Err(SourceRefusal::SetMoved { key: key.clone() }),
            None => Ok(()),
        }
    }

    pub(super) fn change_source(
        &mut self,
        index: u64,
        change: &v1::ChangeSource,
        changed: &mut Vec<ObjectKey>,
    ) -> Outcome {
        let done = match &change.change {
            Some(Change::RenewLease(renewal)) => self.renew(index, change, renewal),
            Some(Change::DropStage(stage)) => {
                if let Some(source) = self.sources.get_mut(&*change.source) {
                    source.stage.take_if(|staged| staged.id == *stage);
                }
                Ok(Outcome::SourceChanged)
            }
            Some(Change::ConfirmDeletions(id)) => self.confirm(index, &change.source, *id, changed),
            Some(Change::Policy(policy)) => {
                if let Err(refused) = self.room_for_source(&change.source) {
                    return refused;
                }
                let mut source = self.sources.remove(&*change.source).unwrap_or_default();
                source.policy = (*policy).into();
                self.keep_source(&change.source, source);
                Ok(Outcome::SourceChanged)
            }
            Some(Change::Withdraw(renewed)) => self.withdraw(index, change, *renewed, changed),
            None => Ok(Outcome::None),
        };
        done.unwrap_or_else(Outcome::SourceRefused)
    }

    fn renew(
        &mut self,
        index: u64,
        change: &v1::ChangeSource,
        renewal: &v1::LeaseRenewal,
    ) -> Result<Outcome, SourceRefusal> {
        self.session(&change.source, renewal.session)?;
        if let Some(session) = self.session_mut(&change.source) {
            session.renew(index, change.at_unix_ms);
            session.lease_ms = renewal.lease_ms.unwrap_or(session.lease_ms);
        }
        Ok(Outcome::SourceChanged)
    }

    /// Deletes what is held, but for what has changed since.
    fn confirm(
        &mut self,
        index: u64,
        source: &str,
        id: u64,
        changed: &mut Vec<ObjectKey>,
    ) -> Result<Outcome, SourceRefusal> {
        let held = self.sources.get(source).and_then(|of| of.held.clone());
        let Some(held) = held.as_ref().filter(|held| held.id == id) else {
            let id = held.map_or(0, |held| held.id);
            return Err(SourceRefusal::NotHeld { id });
        };
        let as_held = |(key, revision): &(&ObjectKey, &u64)| {
            let stored = self.objects.get(*key);
            stored.is_some_and(|stored| stored.revision == **revision)
        };
        let plan: Plan = held
            .keys
            .iter()
            .filter(as_held)
            .map(|(key, _)| (key.clone(), None))
            .collect();
        Ok(self.delete(index, source, plan, changed))
    }

    fn withdraw(
        &mut self,
        index: u64,
        change: &v1::ChangeSource,
        renewed: u64,
        changed: &mut Vec<ObjectKey>,
    ) -> Result<Outcome, SourceRefusal> {
        let name = change.source.as_str();
        let source = self.sources.get_mut(name).ok_or(SourceRefusal::NotSilent)?;
        let silent = source.session.as_ref().map(|session| session.renewed) == Some(renewed);
        if !silent || source.policy.withdraw_after_ms.is_none() {
            return Err(SourceRefusal::NotSilent);
        }
        source.session = None;
        source.stage = None;
        source.resync_due = true;
        source.withdrawn_at_unix_ms = Some(change.at_unix_ms);
        let own = self.objects_of(name);
        let plan: Plan = own.map(|object| (object.key.clone(), None)).collect();
        Ok(self.delete(index, name, plan, changed))
    }

    fn delete(
        &mut self,
        index: u64,
        source: &str,
        plan: Plan,
        changed: &mut Vec<ObjectKey>,
    ) -> Outcome {
        let of = count(plan.len());
        self.store(index, source, plan, changed);
        Outcome::Applied {
            revision: self.revision,
            changed: of,
        }
    }

    /// The session, if it is the newest of its source.
    fn session(&self, source: &str, session: u64) -> Result<&Session, SourceRefusal> {
        let of = self.sources.get(source);
        let newest = of.and_then(|source| source.session.as_ref());
        let id = newest.map_or(0, |newest| newest.id);
        match newest {
            Some(newest) if id == session => Ok(newest),
            Some(_) if id > session => Err(SourceRefusal::Fenced { newest: id }),
            _ => Err(SourceRefusal::UnknownSession { newest: id }),
        }
    }

    fn session_mut(&mut self, source: &str) -> Option<&mut Session> {
        self.sources.get_mut(source)?.session.as_mut()
    }

    /// Takes the stage of a source away; `None` where it has another one, or none.
    fn take_stage(&mut self, source: &str, id: u64, session: u64) -> Option<Arc<Stage>> {
        let stage = self.sources.get_mut(source)?.stage.take()?;
        (stage.id == id && stage.session == session).then_some(stage)
    }

    /// Whether all stages together stay within their bound.
    fn room_for_stage(&self, stage: &Stage) -> Result<(), SourceRefusal> {
        let staged = self.sources.values().filter_map(Source::staged);
        let found = staged.map(|(bytes, _)| bytes).sum::<u64>() + stage.bytes();
        let (what, limit) = ("bytes", STAGES_BYTES_MAX);
        match found > limit {
            true => Err(SourceRefusal::StageFull(Quota { what, limit, found })),
            false => Ok(()),
        }
    }

    /// Drops the stages that nobody has added to for long.
    pub(super) fn expire_stages(&mut self, index: u64) {
        // Not with every entry, since there may be many sources.
        if !index.is_multiple_of(STAGE_ENTRIES_MAX / 10) {
            return;
        }
        let old = |stage: &mut Arc<Stage>| index - stage.touched >= STAGE_ENTRIES_MAX;
        for source in self.sources.values_mut() {
            source.stage.take_if(old);
        }
        self.sources.retain(|_, source| !source.is_nothing());
    }
}

/// What a full set comes to.
struct Swap {
    plan: Plan,
    put: u32,
    deleted: u32,
    held: Option<Held>,
}

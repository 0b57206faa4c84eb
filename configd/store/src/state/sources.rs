//! Sources: sessions, leases and what waits to be confirmed.

use std::sync::Arc;

use tidegate_proto::raft::v1::{self, change_source::Change, session_write::Write};

use super::{
    State,
    objects::{Difference, Plan, count},
};
use crate::{
    command::Outcome,
    key::{ObjectKey, StoredObject},
    source::{Admission, Session, Source, SourceRefusal},
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
        let first = ObjectKey::new(source, "", "", "", "");
        let from = self.objects.range(first..);
        let own = from.take_while(move |(key, _)| **key.source() == *source);
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
        let plan: Plan = held
            .keys
            .iter()
            .filter_map(|(key, revision)| {
                let stored = self.objects.get(key)?;
                (stored.revision == *revision).then(|| Difference::deletion(stored.clone()))
            })
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
        let plan: Plan = own.cloned().map(Difference::deletion).collect();
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

    /// Whether an object was last changed at this revision.
    pub(super) fn is_as_of(&self, key: &ObjectKey, revision: u64) -> bool {
        let stored = self.objects.get(key);
        stored.is_some_and(|stored| stored.revision == revision)
    }

    /// The session, if it is the newest of its source.
    pub(super) fn session(&self, source: &str, session: u64) -> Result<&Session, SourceRefusal> {
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
}

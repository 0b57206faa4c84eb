//! Full sets of a source: piece by piece put aside as a stage, and swapped in whole.

use std::sync::Arc;

use tidegate_proto::raft::v1;

use super::{
    State,
    objects::{Difference, Plan, count},
};
use crate::{
    command::Outcome,
    key::{ObjectKey, StoredObject},
    source::{Held, Quota, STAGE_ENTRIES_MAX, STAGES_BYTES_MAX, Source, SourceRefusal, Stage},
};

impl State {
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
                let (before, after) = (stored.cloned(), Some(Arc::new(object)));
                plan.push((key.clone(), Difference { before, after }));
            }
        }
        let put = count(plan.len());
        let named =
            |key: &ObjectKey| stage.objects.contains_key(key) || stage.kept.contains_key(key);
        let gone = self.objects_of(&commit.source);
        let gone = gone.filter(|object| !named(&object.key));
        let gone: Vec<Arc<StoredObject>> = gone.cloned().collect();
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
                keys: gone
                    .iter()
                    .map(|object| (object.key.clone(), object.revision))
                    .collect(),
            });
        } else {
            swap.deleted = count(gone.len());
            swap.plan.extend(gone.into_iter().map(Difference::deletion));
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
        let mut kept = stage.kept.iter();
        match kept.find(|(key, revision)| !self.is_as_of(key, **revision)) {
            Some((key, _)) => Err(SourceRefusal::SetMoved { key: key.clone() }),
            None => Ok(()),
        }
    }

    /// Takes the stage of a source away; `None` where it has another one, or none.
    pub(super) fn take_stage(&mut self, source: &str, id: u64, session: u64) -> Option<Arc<Stage>> {
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

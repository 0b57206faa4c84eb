//! What one pool gets of one compilation: all of it, the addresses alone, or a step at a time.

use std::sync::Arc;

use tidegate_compiler::Parts;
use tidegate_proto::raft::v1::Track;
use tidegate_store::{Marks, ObjectFilter, PartRef, Rollout};
use tracing::info;

use super::cause::Changed;
use super::{PublishError, Publisher, cause, plan};
use crate::statuses::PoolHead;

/// What one round has for one pool.
pub(super) struct Round<'a> {
    pub(super) revision: u64,
    /// The objects that changed since the round before.
    pub(super) changed: &'a Changed,
    pub(super) pool: &'a String,
    pub(super) parts: &'a Parts,
}

/// What a version of a pool was committed from, as it is stored.
pub(super) struct Committed {
    version: u64,
    parts: Parts,
}

impl Publisher {
    /// Commits a new version of a pool if it differs, and returns its head, if it has one.
    pub(super) async fn commit_pool(
        &mut self,
        round: &Round<'_>,
    ) -> Result<Option<PoolHead>, PublishError> {
        let marks = self.store.marks(round.pool);
        match (&marks.rollout, &marks.freeze) {
            (Some(rollout), _) => self.follow_rollout(round, rollout).await?,
            (None, Some(_)) => self.follow_addresses(round).await?,
            (None, None) => self.commit_compiled(round, &marks).await?,
        }
        Ok(self.head(round.pool))
    }

    async fn commit_compiled(
        &mut self,
        round: &Round<'_>,
        marks: &Marks,
    ) -> Result<(), PublishError> {
        let head = self.store.head(round.pool);
        let parent = head.as_ref().map_or(0, |head| head.version);
        let parts = self.sealing.as_stored(round.parts);
        let known = self.committed.get(round.pool);
        let known = known.filter(|known| known.version == parent);
        let stored = |digest: &_| self.store.has_blob(digest);
        let plan = match known {
            Some(known) => {
                let head = plan::Head::Parts(&known.parts);
                plan::plan(round.pool, parent, head, &parts, stored)
            }
            None => {
                let lines = self.manifest(round.pool, parent);
                let head = plan::Head::Lines(&lines);
                plan::plan(round.pool, parent, head, &parts, stored)
            }
        };
        let mut version = parent;
        if let Some(mut plan) = plan {
            let since = head.map_or(0, |head| head.revision);
            plan.commit.cause = self.cause(round, marks, since);
            plan.commit.revision = round.revision;
            if parent > 0 && plan.is_more_than_addresses() {
                let steps = marks.next.as_ref().or(marks.policy.as_ref());
                plan.commit.rollout = steps.cloned().map(Into::into);
            }
            version = self.carry_out(plan, round).await?;
        }
        let committed = Committed { version, parts };
        self.committed.insert(round.pool.clone(), committed);
        Ok(())
    }

    /// For a frozen pool.
    async fn follow_addresses(&self, round: &Round<'_>) -> Result<(), PublishError> {
        let Some(head) = self.store.head(round.pool) else {
            return Ok(());
        };
        let manifest = self.manifest(round.pool, head.version);
        let stored = |digest: &_| self.store.has_blob(digest);
        let (pool, parts) = (round.pool, round.parts);
        let plan = plan::addresses(pool, head.version, &manifest, &manifest, parts, stored);
        let Some(mut plan) = plan else {
            return Ok(());
        };
        plan.commit.cause = cause::while_frozen(round.changed);
        plan.commit.revision = head.revision;
        plan.commit.while_frozen = true;
        self.carry_out(plan, round).await.map(drop)
    }

    /// Both sides of a rollout get the addresses of now. The side that is in a step comes last, so that its version
    /// stays the newest.
    async fn follow_rollout(
        &self,
        round: &Round<'_>,
        rollout: &Rollout,
    ) -> Result<(), PublishError> {
        let stable = self.manifest(round.pool, rollout.stable);
        let canary = self.manifest(round.pool, rollout.canary);
        let is_late = |manifest: &[PartRef]| plan::has_newer_addresses(manifest, round.parts);
        if is_late(&stable) {
            let side = (Track::Stable, rollout.stable);
            self.commit_side(round, side, &stable).await?;
        } else if !is_late(&canary) {
            return Ok(());
        }
        let side = (Track::Canary, rollout.canary);
        self.commit_side(round, side, &canary).await
    }

    async fn commit_side(
        &self,
        round: &Round<'_>,
        (track, version): (Track, u64),
        base: &[PartRef],
    ) -> Result<(), PublishError> {
        let Some((head, of)) = self
            .store
            .head(round.pool)
            .zip(self.store.meta(round.pool, version))
        else {
            return Ok(());
        };
        let manifest = self.manifest(round.pool, head.version);
        let stored = |digest: &_| self.store.has_blob(digest);
        let (pool, parts) = (round.pool, round.parts);
        let plan = plan::addresses(pool, head.version, &manifest, base, parts, stored);
        let Some(mut plan) = plan else {
            return Ok(());
        };
        plan.commit.cause = cause::during_rollout(round.changed);
        plan.commit.revision = of.revision;
        plan.commit.while_frozen = true;
        plan.commit.track = track.into();
        self.carry_out(plan, round).await.map(drop)
    }

    /// Commits what was planned, and returns its version.
    async fn carry_out(&self, plan: plan::Plan, round: &Round<'_>) -> Result<u64, PublishError> {
        let (pool, revision) = (round.pool, round.revision);
        let cause = plan.commit.cause.clone();
        let version = self.propose_plan(plan).await?;
        info!(%pool, version, revision, cause, "Snapshot committed.");
        Ok(version)
    }

    fn manifest(&self, pool: &str, version: u64) -> Arc<Vec<PartRef>> {
        self.store.manifest(pool, version).unwrap_or_default()
    }

    fn head(&self, pool: &str) -> Option<PoolHead> {
        let head = self.store.head(pool)?;
        let marks = self.store.marks(pool);
        let Some(rollout) = &marks.rollout else {
            let (version, freeze) = (head.version, PoolHead::frozen(&head, &marks));
            return Some(PoolHead { version, freeze });
        };
        let stable = self.store.meta(pool, rollout.stable)?;
        Some(PoolHead::in_rollout(&stable, rollout))
    }

    /// Why a pool gets a version that was compiled from changes after a revision.
    fn cause(&self, round: &Round<'_>, marks: &Marks, since: u64) -> String {
        let was_held = self.frozen.contains(round.pool);
        match &marks.unfrozen {
            Some(note) if was_held || self.known.is_none() => {
                cause::unfrozen(note, &self.changed_after(since))
            }
            None if was_held => cause::describe(&self.changed_after(since)),
            _ => cause::describe(round.changed),
        }
    }

    /// The objects that changed after a revision and are still there.
    fn changed_after(&self, revision: u64) -> Changed {
        let (_, objects) = self.store.objects(&ObjectFilter::default());
        let changed = objects.iter().filter(|object| object.revision > revision);
        Changed::of(changed.map(|object| &object.key))
    }
}

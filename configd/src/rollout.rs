//! Moves rollouts on: to the next step when the workers of this one have served it long enough, back when they refuse it or
//! answer worse with it than the others.

pub(crate) mod cohort;
mod judge;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::raft::v1::{ChangePool, RolloutMove, change_pool::Change};
use tidegate_store::{Command, Rollout, Store};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{info, warn};

use crate::audit::{AuditLog, Event};
use crate::fleet::Fleet;
use crate::rpc::history::{catch_up, rollback};
use crate::sealing::Sealing;
use crate::{clock, error};
use judge::Verdict;
use tally::Tally;

/// A bake ends at most so late.
const ROUND: Duration = Duration::from_millis(250);

/// Who aborts where no person does.
const SELF: &str = "tidegate";

/// What the steps that a rollout takes by itself are called in the audit log, which has methods otherwise.
const STEP: &str = "step of a rollout";

/// Watches the rollouts of all pools; only the leader moves them.
pub(crate) struct Rollouts {
    store: Store,
    fleet: Fleet,
    sealing: Sealing,
    audit: AuditLog,
    /// Since when all workers of a step serve it; begins anew with another leader, which is later at worst.
    ready: BTreeMap<Arc<str>, Ready>,
    /// What workers have answered, where a rollout looks at that; begins anew with another leader.
    tallies: BTreeMap<Arc<str>, Tally>,
}

/// Since when all workers of a step serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ready {
    id: u64,
    step: u32,
    since_unix_ms: i64,
}

impl Rollouts {
    /// Knows of nothing yet.
    pub(crate) fn new((store, sealing): (Store, Sealing), fleet: Fleet, audit: AuditLog) -> Self {
        Self {
            store,
            fleet,
            sealing,
            audit,
            ready: BTreeMap::new(),
            tallies: BTreeMap::new(),
        }
    }

    /// Moves rollouts until `end`.
    pub(crate) async fn run(mut self, end: CancellationToken) {
        let mut marks = self.store.watch_marks();
        loop {
            marks.mark_unchanged();
            let is_idle = !self.round().await;
            tokio::select! {
                () = end.cancelled() => return,
                changed = marks.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(ROUND), if !is_idle => {}
            }
        }
    }

    /// Looks at every rollout; false where there is none.
    async fn round(&mut self) -> bool {
        let mut any = false;
        for pool in self.store.pools() {
            let Some(rollout) = self.store.marks(&pool).rollout.clone() else {
                self.forget(&pool);
                continue;
            };
            any = true;
            if !self.store.is_leader() {
                self.forget(&pool);
                continue;
            }
            if let Err(error) = self.advance(&pool, &rollout).await {
                let cause = error.message();
                warn!(%pool, rollout = rollout.id, cause, "A rollout could not be moved.");
            }
        }
        any
    }

    async fn advance(&mut self, pool: &Arc<str>, rollout: &Rollout) -> Result<(), Status> {
        let now = clock::unix_ms();
        let workers = self.fleet.list(pool);
        let since = self.ready_since(pool, rollout);
        let tally = self.tallies.entry(pool.clone()).or_default();
        let chosen = cohort::of(rollout, &workers).into_iter();
        let chosen: BTreeSet<&str> = chosen.map(|worker| &*worker.name).collect();
        tally.take(rollout, &workers, |worker| chosen.contains(&*worker.name));
        match judge::verdict(rollout, &workers, tally, (since, now)) {
            Verdict::Wait => {
                self.ready.remove(pool);
                Ok(())
            }
            Verdict::Bake => {
                let (id, step) = (rollout.id, rollout.step);
                let since_unix_ms = since.unwrap_or(now);
                let ready = Ready {
                    id,
                    step,
                    since_unix_ms,
                };
                self.ready.insert(pool.clone(), ready);
                Ok(())
            }
            Verdict::Next => {
                // As with a change that somebody asks for: none without a record.
                self.audit.check()?;
                let step = rollout.step + 1;
                let moved = move_to(&self.store, pool, rollout, step, false).await;
                let change = format!("rollout {}: to step {step}", rollout.id);
                self.record(pool, &change, "", moved).await
            }
            Verdict::Abort(why) => self.abort(pool, rollout, &why).await,
        }
    }

    async fn abort(&self, pool: &str, rollout: &Rollout, why: &str) -> Result<(), Status> {
        warn!(%pool, rollout = rollout.id, why, "A rollout is aborted.");
        let reason = format!("rollout aborted: {why}");
        let store = (&self.store, &self.sealing);
        let aborted = rollback::abort(store, pool, rollout, SELF.to_owned(), reason).await;
        let change = format!("rollout {}: abort", rollout.id);
        self.record(pool, &change, why, aborted.map(drop)).await
    }

    /// Leaves a record of what no person asked for. What failed is tried again, and only then worth one.
    async fn record(
        &self,
        pool: &str,
        change: &str,
        why: &str,
        outcome: Result<(), Status>,
    ) -> Result<(), Status> {
        outcome?;
        let mut event = Event {
            caller: "configd".to_owned(),
            method: STEP.to_owned(),
            ..Event::default()
        };
        event.of_pool(pool, why);
        event.changes(change);
        let recorded = self.audit.write(event.ended(Ok(0))).await;
        recorded.map_err(|status| {
            Status::unavailable(format!("{change} has no record: {}", status.message()))
        })
    }

    fn forget(&mut self, pool: &str) {
        self.ready.remove(pool);
        self.tallies.remove(pool);
    }

    fn ready_since(&self, pool: &str, rollout: &Rollout) -> Option<i64> {
        let ready = self.ready.get(pool)?;
        let same = (ready.id, ready.step) == (rollout.id, rollout.step);
        same.then_some(ready.since_unix_ms)
    }
}

/// Moves a rollout to a step, or pauses it there.
pub(crate) async fn move_to(
    store: &Store,
    pool: &str,
    rollout: &Rollout,
    step: u32,
    paused: bool,
) -> Result<(), Status> {
    let change = Change::RolloutMove(RolloutMove {
        id: rollout.id,
        step,
        paused,
        at_unix_ms: clock::unix_ms(),
    });
    let command = Command::ChangePool(ChangePool {
        pool: pool.to_owned(),
        head: 0,
        change: Some(change),
    });
    let outcome = store.propose(command).await;
    let outcome = outcome.map_err(|error| error::store(&error))?;
    error::pool_changed(pool, outcome)?;
    catch_up(store).await?;
    info!(%pool, rollout = rollout.id, step, paused, "Rollout moved.");
    Ok(())
}

//! Moves rollouts on: to the next step when the workers of this one have served it long enough, back when one refuses.

pub(crate) mod cohort;
mod judge;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::raft::v1::{ChangePool, RolloutMove, change_pool::Change};
use tidegate_store::{Command, Rollout, Store};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{info, warn};

use crate::fleet::Fleet;
use crate::rpc::history::{catch_up, rollback};
use crate::sealing::Sealing;
use crate::{clock, error};
use judge::Verdict;

/// A bake ends at most so late.
const ROUND: Duration = Duration::from_millis(250);

/// Who aborts where no person does.
const SELF: &str = "tidegate";

/// Watches the rollouts of all pools; only the leader moves them.
pub(crate) struct Rollouts {
    store: Store,
    fleet: Fleet,
    sealing: Sealing,
    /// Since when all workers of a step serve it; begins anew with another leader, which is later at worst.
    ready: BTreeMap<Arc<str>, Ready>,
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
    pub(crate) fn new(store: Store, fleet: Fleet, sealing: Sealing) -> Self {
        let ready = BTreeMap::new();
        Self {
            store,
            fleet,
            sealing,
            ready,
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
                self.ready.remove(&pool);
                continue;
            };
            any = true;
            if !self.store.is_leader() {
                self.ready.remove(&pool);
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
        match judge::verdict(rollout, &workers, since, now) {
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
            Verdict::Next => move_to(&self.store, pool, rollout, rollout.step + 1, false).await,
            Verdict::Abort(why) => {
                warn!(%pool, rollout = rollout.id, why, "A rollout is aborted.");
                let reason = format!("rollout aborted: {why}");
                rollback::abort(
                    (&self.store, &self.sealing),
                    pool,
                    rollout,
                    SELF.to_owned(),
                    reason,
                )
                .await
                .map(drop)
            }
        }
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

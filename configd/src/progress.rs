//! How far a change has come, stored, compiled or served, and waiting until it has.

pub(crate) mod standing;

use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::objects::v1::WaitFor;
use tidegate_store::{SnapshotMeta, Store};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::cluster::Leader;
use crate::error::{self, Violation};
use crate::fleet::Fleet;
use crate::pools::heads;
use crate::statuses::Statuses;
use standing::Standing;

/// Time to wait, unless the caller asks for another.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Time to wait, at most, in milliseconds.
const TIMEOUT_MS_MAX: u32 = 600_000;

/// Sees what is stored, compiled and served.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) store: Store,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) fleet: Fleet,
    /// Ends every wait, so that the server can stop.
    pub(crate) end: CancellationToken,
}

/// What is waited for.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    /// Only this pool; all of them where it is empty.
    pub(crate) pool: String,
    /// The object set; `None` for whatever is there now.
    pub(crate) revision: Option<u64>,
    /// How far it must have come.
    pub(crate) wait_for: WaitFor,
}

/// The time that a caller gives; 0 stands for the usual one.
pub(crate) fn timeout(ms: u32) -> Result<Duration, Status> {
    match ms {
        0 => Ok(TIMEOUT_DEFAULT),
        1..=TIMEOUT_MS_MAX => Ok(Duration::from_millis(ms.into())),
        _ => {
            let text = format!("a timeout of {ms} ms is too long; at most {TIMEOUT_MS_MAX} ms");
            Err(error::invalid(&[Violation::new("timeout_ms", text)]))
        }
    }
}

impl Progress {
    /// Waits until the goal is reached, and returns the versions that were waited for.
    pub(crate) async fn reach(
        &self,
        goal: &Goal,
        timeout: Duration,
    ) -> Result<Vec<Arc<SnapshotMeta>>, Status> {
        tokio::select! {
            reached = self.reached(goal) => reached,
            () = tokio::time::sleep(timeout) => Err(Status::deadline_exceeded(self.late(goal))),
            () = self.end.cancelled() => Err(Status::unavailable("configd is stopping")),
            () = Leader::until_deposed(self.store.clone()) => {
                Err(Status::unavailable("another configd leads; ask again"))
            }
        }
    }

    /// Waits for a batch that is stored; says how far it has come in time, and what it waits for.
    pub(crate) async fn come_far(
        &self,
        revision: u64,
        wait_for: WaitFor,
        timeout: Duration,
    ) -> (WaitFor, String) {
        let goal = Goal {
            pool: String::new(),
            revision: Some(revision),
            wait_for: wait_for.max(WaitFor::Committed),
        };
        match self.reach(&goal, timeout).await {
            Ok(_) => (goal.wait_for, String::new()),
            Err(late) if self.has_compiled(revision, 0) => {
                (WaitFor::Compiled, late.message().to_owned())
            }
            Err(late) => (WaitFor::Committed, late.message().to_owned()),
        }
    }

    async fn reached(&self, goal: &Goal) -> Result<Vec<Arc<SnapshotMeta>>, Status> {
        if goal.wait_for >= WaitFor::Compiled {
            self.compiled(goal).await?;
        }
        let targets = self.targets(&goal.pool);
        if goal.wait_for >= WaitFor::Converged {
            self.check_freeze(goal, &targets)?;
            self.converged(&targets).await?;
        }
        Ok(targets)
    }

    async fn compiled(&self, goal: &Goal) -> Result<(), Status> {
        // A change of the marks, such as the end of a freeze, is compiled without a new revision.
        let marks = *self.store.watch_marks().borrow();
        let revision = goal.revision.unwrap_or_else(|| self.store.revision());
        let mut boards = self.statuses.watch();
        let seen = boards.wait_for(|board| board.revision >= revision && board.marks >= marks);
        let stopping = |_| Status::unavailable("configd is stopping");
        seen.await.map(drop).map_err(stopping)
    }

    fn has_compiled(&self, revision: u64, marks: u64) -> bool {
        let boards = self.statuses.watch();
        let board = boards.borrow();
        board.revision >= revision && board.marks >= marks
    }

    /// The newest versions that workers have something to serve of.
    fn targets(&self, pool: &str) -> Vec<Arc<SnapshotMeta>> {
        let mut targets = heads(&self.store);
        targets.retain(|head| head.parts > 0 && (pool.is_empty() || *head.pool == *pool));
        targets
    }

    /// A frozen pool does not take changes of objects, however long one waits.
    fn check_freeze(&self, goal: &Goal, targets: &[Arc<SnapshotMeta>]) -> Result<(), Status> {
        let Some(revision) = goal.revision else {
            return Ok(());
        };
        let frozen = targets.iter().find(|target| {
            target.revision < revision && self.store.marks(&target.pool).freeze.is_some()
        });
        frozen.map_or(Ok(()), |target| {
            let text = format!(
                "pool {} is frozen at snapshot {}; unfreeze it to have the change served",
                target.pool, target.version
            );
            Err(error::unexpected("FROZEN", text))
        })
    }

    async fn converged(&self, targets: &[Arc<SnapshotMeta>]) -> Result<(), Status> {
        let mut changes = self.fleet.watch();
        loop {
            changes.mark_unchanged();
            match self.standing(targets) {
                Standing::Served => return Ok(()),
                Standing::Refused(text) => return Err(error::unexpected("REFUSED", text)),
                Standing::Waits(_) => {}
            }
            let stopping = |_| Status::unavailable("configd is stopping");
            changes.changed().await.map_err(stopping)?;
        }
    }

    /// That of the first pool that is not served.
    fn standing(&self, targets: &[Arc<SnapshotMeta>]) -> Standing {
        let standings = targets
            .iter()
            .map(|target| standing::of(target, &self.fleet.list(&target.pool)));
        let mut behind = standings.filter(|standing| *standing != Standing::Served);
        behind.next().unwrap_or(Standing::Served)
    }

    fn late(&self, goal: &Goal) -> String {
        let revision = goal.revision.unwrap_or_else(|| self.store.revision());
        if !self.has_compiled(revision, 0) {
            return format!("revision {revision} is not compiled yet");
        }
        match self.standing(&self.targets(&goal.pool)) {
            Standing::Waits(text) | Standing::Refused(text) => text,
            Standing::Served => "it is reached by now".to_owned(),
        }
    }
}

//! RolloutService: versions that go to some workers first.

use tidegate_proto::raft::v1::{self as raft, ChangePool, RolloutSteps, change_pool::Change};
use tidegate_proto::rollouts::v1::rollout_service_server::RolloutService;
use tidegate_proto::rollouts::v1::{
    AbortRolloutRequest, AbortRolloutResponse, Gates, ListRolloutsRequest, ListRolloutsResponse,
    PauseRolloutRequest, PauseRolloutResponse, PoolRollout, PromoteRolloutRequest,
    PromoteRolloutResponse, ResumeRolloutRequest, ResumeRolloutResponse, Rollout, RolloutStep,
    SetRolloutPolicyRequest, SetRolloutPolicyResponse, StartRolloutRequest, StartRolloutResponse,
};
use tidegate_store::{self as store, Command, Store};
use tonic::{Request, Response, Status};

use super::history::{catch_up, note, rollback};
use super::version;
use crate::call::Call;
use crate::fleet::Fleet;
use crate::pools::heads;
use crate::progress::standing;
use crate::rollout::{cohort, move_to};
use crate::sealing::Sealing;
use crate::{error, wire};

/// Answers RolloutService.
#[derive(Debug, Clone)]
pub(crate) struct RolloutEditor {
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) sealing: Sealing,
}

#[tonic::async_trait]
impl RolloutService for RolloutEditor {
    async fn list_rollouts(
        &self,
        _: Request<ListRolloutsRequest>,
    ) -> Result<Response<ListRolloutsResponse>, Status> {
        let pools = heads(&self.store);
        let pools = pools.iter().map(|head| self.state(&head.pool)).collect();
        Ok(Response::new(ListRolloutsResponse { pools }))
    }

    async fn start_rollout(
        &self,
        request: Request<StartRolloutRequest>,
    ) -> Result<Response<StartRolloutResponse>, Status> {
        let call = super::call(&request);
        let request = super::signed(request, |request| &mut request.requested_by)?;
        call.about(&request.pool, &request.reason).changes(format!(
            "roll the next version out in {}",
            in_words(&request.steps)
        ));
        let pool = version::newest(&self.store, &request.pool)?.pool.clone();
        call.about(&pool, &request.reason);
        if let Some(rollout) = &self.store.marks(&pool).rollout {
            let text = format!(
                "a rollout of snapshot {} of pool {pool} is under way; promote or abort it first",
                rollout.id
            );
            return Err(error::unexpected("ROLLOUT", text));
        }
        let steps = steps(request.steps, request.requested_by, request.reason);
        self.change(&pool, Change::NextRollout(steps)).await?;
        let pool = Some(self.state(&pool));
        Ok(Response::new(StartRolloutResponse { pool }))
    }

    async fn set_rollout_policy(
        &self,
        request: Request<SetRolloutPolicyRequest>,
    ) -> Result<Response<SetRolloutPolicyResponse>, Status> {
        let call = super::call(&request);
        let request = super::signed(request, |request| &mut request.requested_by)?;
        call.about(&request.pool, &request.reason).changes(format!(
            "roll every version out in {}",
            in_words(&request.steps)
        ));
        let pool = version::newest(&self.store, &request.pool)?.pool.clone();
        call.about(&pool, &request.reason);
        let steps = steps(request.steps, request.requested_by, request.reason);
        self.change(&pool, Change::RolloutPolicy(steps)).await?;
        let pool = Some(self.state(&pool));
        Ok(Response::new(SetRolloutPolicyResponse { pool }))
    }

    async fn promote_rollout(
        &self,
        request: Request<PromoteRolloutRequest>,
    ) -> Result<Response<PromoteRolloutResponse>, Status> {
        let call = super::call(&request);
        let request = request.into_inner();
        let (pool, rollout) = self.under_way(&call, &request.pool, request.id)?;
        call.changes(format!(
            "rollout {}: to step {}",
            rollout.id,
            rollout.step + 1
        ));
        move_to(&self.store, &pool, &rollout, rollout.step + 1, false).await?;
        let pool = Some(self.state(&pool));
        Ok(Response::new(PromoteRolloutResponse { pool }))
    }

    async fn pause_rollout(
        &self,
        request: Request<PauseRolloutRequest>,
    ) -> Result<Response<PauseRolloutResponse>, Status> {
        let call = super::call(&request);
        let request = request.into_inner();
        let (pool, rollout) = self.under_way(&call, &request.pool, request.id)?;
        call.changes(format!("rollout {}: pause", rollout.id));
        move_to(&self.store, &pool, &rollout, rollout.step, true).await?;
        let pool = Some(self.state(&pool));
        Ok(Response::new(PauseRolloutResponse { pool }))
    }

    async fn resume_rollout(
        &self,
        request: Request<ResumeRolloutRequest>,
    ) -> Result<Response<ResumeRolloutResponse>, Status> {
        let call = super::call(&request);
        let request = request.into_inner();
        let (pool, rollout) = self.under_way(&call, &request.pool, request.id)?;
        call.changes(format!("rollout {}: resume", rollout.id));
        move_to(&self.store, &pool, &rollout, rollout.step, false).await?;
        let pool = Some(self.state(&pool));
        Ok(Response::new(ResumeRolloutResponse { pool }))
    }

    async fn abort_rollout(
        &self,
        request: Request<AbortRolloutRequest>,
    ) -> Result<Response<AbortRolloutResponse>, Status> {
        let call = super::call(&request);
        let request = super::signed(request, |request| &mut request.requested_by)?;
        let (pool, rollout) = self.under_way(&call, &request.pool, request.id)?;
        call.about(&pool, &request.reason)
            .changes(format!("rollout {}: abort", rollout.id));
        let reason = match request.reason.as_str() {
            "" => "rollout aborted".to_owned(),
            reason => format!("rollout aborted: {reason}"),
        };
        let by = request.requested_by;
        let made =
            rollback::abort((&self.store, &self.sealing), &pool, &rollout, by, reason).await?;
        let snapshot = Some(wire::snapshot_info(&made));
        Ok(Response::new(AbortRolloutResponse { snapshot }))
    }
}

impl RolloutEditor {
    /// The rollout that a request means; an id of 0 means whichever is under way.
    fn under_way(
        &self,
        call: &Call,
        pool: &str,
        id: u64,
    ) -> Result<(String, store::Rollout), Status> {
        call.about(pool, "");
        let pool = version::newest(&self.store, pool)?.pool.to_string();
        call.about(&pool, "");
        let rollout = self.store.marks(&pool).rollout.clone();
        match rollout {
            Some(rollout) if id == 0 || rollout.id == id => Ok((pool, rollout)),
            Some(rollout) => Err(error::unexpected(
                "ROLLOUT_MOVED",
                format!("pool {pool} is rolling out snapshot {}", rollout.id),
            )),
            None => Err(error::unexpected(
                "NO_ROLLOUT",
                format!("no rollout of pool {pool} is under way"),
            )),
        }
    }

    async fn change(&self, pool: &str, change: Change) -> Result<(), Status> {
        let command = Command::ChangePool(ChangePool {
            pool: pool.to_owned(),
            head: 0,
            change: Some(change),
        });
        let outcome = self.store.propose(command).await;
        error::pool_changed(pool, outcome.map_err(|error| error::store(&error))?)?;
        catch_up(&self.store).await
    }

    fn state(&self, pool: &str) -> PoolRollout {
        let marks = self.store.marks(pool);
        let listed = |steps: &Option<store::Steps>| {
            let steps = steps.as_ref().map(|steps| wire_steps(&steps.steps));
            steps.unwrap_or_default()
        };
        PoolRollout {
            pool: pool.to_owned(),
            rollout: marks.rollout.as_ref().map(|now| self.rollout(pool, now)),
            next: listed(&marks.next),
            policy: listed(&marks.policy),
        }
    }

    fn rollout(&self, pool: &str, rollout: &store::Rollout) -> Rollout {
        let connected = self.fleet.list(pool);
        let chosen = cohort::of(rollout, &connected);
        let ready = chosen
            .iter()
            .filter(|worker| standing::serves(worker) >= rollout.id);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let info = |version| {
            let meta = self.store.meta(pool, version);
            meta.map(|meta| wire::snapshot_info(&meta))
        };
        Rollout {
            id: rollout.id,
            canary: info(rollout.canary),
            stable: info(rollout.stable),
            steps: wire_steps(&rollout.steps.steps),
            step: rollout.step,
            since_unix_ms: rollout.since_unix_ms,
            paused: rollout.paused,
            by: rollout.steps.note.by.clone(),
            reason: rollout.steps.note.reason.clone(),
            ready: count(ready.count()),
            chosen: count(chosen.len()),
        }
    }
}

/// "2 steps", or "one go" where there are none.
fn in_words(steps: &[RolloutStep]) -> String {
    match steps.len() {
        0 => "one go".to_owned(),
        count => format!("{count} steps"),
    }
}

fn steps(steps: Vec<RolloutStep>, by: String, reason: String) -> RolloutSteps {
    let step = |step: RolloutStep| {
        let gates = step.gates.unwrap_or_default();
        raft::RolloutStep {
            percent: step.percent,
            workers: step.workers,
            bake_ms: step.bake_ms,
            max_5xx_delta_permille: gates.max_5xx_delta_permille,
            max_nacks: gates.max_nacks,
            min_ready_percent: gates.min_ready_percent,
        }
    };
    RolloutSteps {
        steps: steps.into_iter().map(step).collect(),
        note: Some(note(by, reason)),
    }
}

fn wire_steps(steps: &[store::Step]) -> Vec<RolloutStep> {
    let step = |step: &store::Step| RolloutStep {
        percent: step.percent,
        workers: step.workers,
        bake_ms: step.bake_ms,
        gates: Some(Gates {
            max_5xx_delta_permille: step.gates.max_5xx_delta_permille,
            max_nacks: step.gates.max_nacks,
            min_ready_percent: Some(step.gates.min_ready_percent),
        }),
    };
    steps.iter().map(step).collect()
}

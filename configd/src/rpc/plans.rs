//! PlanService: changes that are looked at before they are made.

use std::sync::Arc;

use tidegate_compiler::{Compilation, Settings};
use tidegate_proto::objects::v1::ApplyRequest;
use tidegate_proto::plans::v1::plan_service_server::PlanService;
use tidegate_proto::plans::v1::{
    ApplyPlanRequest, ApplyPlanResponse, CreatePlanRequest, CreatePlanResponse, GetPlanRequest,
    GetPlanResponse, ListPlansRequest, ListPlansResponse,
};
use tidegate_proto::raft::v1::PutObjects;
use tidegate_store::{Command, ObjectFilter, Outcome, Store, StoredObject};
use tonic::{Request, Response, Status};

use super::objects::check;
use crate::plans::{KeptPlan, Plans, changed, draft};
use crate::progress::{self, Progress};
use crate::sealing::{Sealing, Unreadable};
use crate::{clock, error};

/// Answers PlanService.
#[derive(Debug, Clone)]
pub(crate) struct Planner {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) sealing: Sealing,
    pub(crate) plans: Arc<Plans>,
    pub(crate) progress: Progress,
}

#[tonic::async_trait]
impl PlanService for Planner {
    async fn create_plan(
        &self,
        request: Request<CreatePlanRequest>,
    ) -> Result<Response<CreatePlanResponse>, Status> {
        let call = super::call(&request);
        let request = request.into_inner();
        call.about_source(&request.source, &request.reason);
        let put = checked(request)?;
        let plan = self.plans.keep(self.plan(put).await?);
        call.changes(format!("make plan {}", plan.info().id));
        let plan = Some(plan.plan.clone());
        Ok(Response::new(CreatePlanResponse { plan }))
    }

    async fn get_plan(
        &self,
        request: Request<GetPlanRequest>,
    ) -> Result<Response<GetPlanResponse>, Status> {
        let plan = self.kept(&request.into_inner().id)?;
        let plan = Some(plan.plan.clone());
        Ok(Response::new(GetPlanResponse { plan }))
    }

    async fn list_plans(
        &self,
        _: Request<ListPlansRequest>,
    ) -> Result<Response<ListPlansResponse>, Status> {
        let plans = self.plans.list(clock::unix_ms());
        let plans = plans.iter().map(|plan| plan.info()).collect();
        Ok(Response::new(ListPlansResponse { plans }))
    }

    async fn apply_plan(
        &self,
        request: Request<ApplyPlanRequest>,
    ) -> Result<Response<ApplyPlanResponse>, Status> {
        let call = super::call(&request);
        let request = request.into_inner();
        call.changes(format!("apply plan {}", request.id));
        let timeout = progress::timeout(request.wait_timeout_ms)?;
        let plan = self.kept(&request.id)?;
        call.about_source(&plan.put.source, &plan.put.reason);
        let changes = plan.put.operations.iter();
        for change in changes.map(crate::name::of_operation) {
            call.changes(change);
        }
        let command = Command::PutObjects(plan.put.clone());
        let outcome = self.store.propose(command).await;
        let applied = error::applied(outcome.map_err(|error| error::store(&error))?)?;
        let revision = applied.revision;
        call.stored(revision);
        let wait_for = request.wait_for();
        let (reached, pending) = self.progress.come_far(revision, wait_for, timeout).await;
        Ok(Response::new(ApplyPlanResponse {
            revision,
            changed: applied.changed,
            reached: reached.into(),
            pending,
        }))
    }
}

impl Planner {
    /// Compiles on a blocking thread, one plan at a time: it is work for the whole object set.
    async fn plan(&self, put: PutObjects) -> Result<KeptPlan, Status> {
        let (revision, objects) = self.store.objects(&ObjectFilter::default());
        let (settings, plans) = (self.settings.clone(), self.plans.clone());
        let sealing = self.sealing.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            let _alone = plans.alone();
            let opened = |object: &StoredObject| sealing.opened(object);
            draft(&settings, (&objects, opened), &put.operations).map(|draft| (draft, put))
        });
        let failed = |_| Status::internal("the compiler failed on the changes; nothing was stored");
        let unreadable = |why: Unreadable| Status::internal(error::chain(&why));
        let (mut draft, mut put) = compiled.await.map_err(failed)?.map_err(unreadable)?;
        self.sealing.seal_operations(&mut put.operations);
        for pool in &mut draft.pools {
            pool.frozen = self.store.marks(&pool.pool).freeze.is_some();
        }
        let put = PutObjects {
            base_revision: Some(revision),
            ..put
        };
        Ok(KeptPlan::new(draft, put, clock::unix_ms()))
    }

    /// What the pools would have after a plan, where the objects are still those that it was made for.
    pub(crate) async fn compiled(&self, id: &str) -> Result<Compilation, Status> {
        let plan = self.kept(id)?;
        let (revision, objects) = self.store.objects(&ObjectFilter::default());
        if plan.put.base_revision != Some(revision) {
            return Err(error::not_stored(Outcome::BaseMoved { revision }));
        }
        let (settings, plans) = (self.settings.clone(), self.plans.clone());
        let sealing = self.sealing.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            let _alone = plans.alone();
            let opened = |object: &StoredObject| sealing.opened(object);
            changed(&settings, (&objects, opened), &plan.put.operations)
        });
        let failed = |_| Status::internal("the compiler failed on the changes of the plan");
        let unreadable = |why: Unreadable| Status::internal(error::chain(&why));
        compiled.await.map_err(failed)?.map_err(unreadable)
    }

    fn kept(&self, id: &str) -> Result<Arc<KeptPlan>, Status> {
        self.plans.get(id, clock::unix_ms()).ok_or_else(|| {
            let text = format!(
                "there is no plan {id}; plans are kept for an hour by the configd that made them: make it again"
            );
            error::missing("plan", id, text)
        })
    }
}

/// The changes as the store takes them, if it would.
fn checked(request: CreatePlanRequest) -> Result<PutObjects, Status> {
    let batch = ApplyRequest {
        source: request.source,
        operations: request.operations,
        reason: request.reason,
        ..ApplyRequest::default()
    };
    let violations = check::batch(&batch, |_, _| {});
    if !violations.is_empty() {
        return Err(error::invalid(&violations));
    }
    let put = PutObjects {
        source: batch.source,
        operations: batch.operations,
        reason: batch.reason,
        ..PutObjects::default()
    };
    let refused = Command::PutObjects(put.clone()).refusal();
    refused.map_or(Ok(put), |why| Err(Status::invalid_argument(why)))
}

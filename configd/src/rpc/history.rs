//! HistoryService: what becomes of versions.

mod blame;
pub(crate) mod rollback;

use std::sync::Arc;

use tidegate_proto::history::v1::history_service_server::HistoryService;
use tidegate_proto::history::v1::{
    BlameRequest, BlameResponse, Freeze, FreezeRequest, FreezeResponse, LabelRequest,
    LabelResponse, ListPoolsRequest, ListPoolsResponse, PinRequest, PinResponse, Pool,
    RollbackRequest, RollbackResponse, UnfreezeRequest, UnfreezeResponse, UnlabelRequest,
    UnlabelResponse, UnpinRequest, UnpinResponse, VersionRef, version_ref,
};
use tidegate_proto::raft::v1::{self as raft, ChangePool, change_pool::Change};
use tidegate_proto::snapshots::v1::SnapshotInfo;
use tidegate_store::{Command, SnapshotMeta, Store};
use tonic::{Request, Response, Status};

use super::version;
use crate::call::Call;
use crate::fleet::Fleet;
use crate::pools::heads;
use crate::sealing::Sealing;
use crate::{clock, error, wire};

/// Answers HistoryService.
#[derive(Debug, Clone)]
pub(crate) struct HistoryEditor {
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) sealing: Sealing,
}

#[tonic::async_trait]
impl HistoryService for HistoryEditor {
    async fn list_pools(
        &self,
        _: Request<ListPoolsRequest>,
    ) -> Result<Response<ListPoolsResponse>, Status> {
        let pools = heads(&self.store);
        let pools = pools.iter().map(|head| self.pool(head)).collect();
        Ok(Response::new(ListPoolsResponse { pools }))
    }

    async fn rollback(
        &self,
        request: Request<RollbackRequest>,
    ) -> Result<Response<RollbackResponse>, Status> {
        let call = super::call(&request);
        let request = super::signed(request, |request| &mut request.requested_by)?;
        call.about(&request.pool, &request.reason);
        if request.dry_run {
            call.is_only_tried();
        }
        let answer = rollback::carry_out(&self.store, &self.sealing, request).await?;
        if let Some((made, restored)) = answer.snapshot.as_ref().zip(answer.restored.as_ref()) {
            let (made, restored) = (wire::version(made), wire::version(restored));
            call.changes(format!("make version {made} of version {restored}"));
        }
        Ok(Response::new(answer))
    }

    async fn freeze(
        &self,
        request: Request<FreezeRequest>,
    ) -> Result<Response<FreezeResponse>, Status> {
        let call = super::call(&request);
        let request = super::signed(request, |request| &mut request.requested_by)?;
        call.about(&request.pool, &request.reason);
        let head = version::newest(&self.store, &request.pool)?;
        call.about(&head.pool, &request.reason)
            .changes(format!("freeze at version {}", head.version));
        self.refuse_during_rollout(&head)?;
        let change = Change::Freeze(note(request.requested_by, request.reason));
        self.change(&head, request.expected_version, change).await?;
        let head = version::newest(&self.store, &head.pool)?;
        let pool = Some(self.pool(&head));
        Ok(Response::new(FreezeResponse { pool }))
    }

    async fn unfreeze(
        &self,
        request: Request<UnfreezeRequest>,
    ) -> Result<Response<UnfreezeResponse>, Status> {
        let call = super::call(&request);
        let request = super::signed(request, |request| &mut request.requested_by)?;
        call.about(&request.pool, &request.reason);
        let head = version::newest(&self.store, &request.pool)?;
        call.about(&head.pool, &request.reason).changes("unfreeze");
        if self.store.marks(&head.pool).freeze.is_none() {
            let text = format!("pool {} is not frozen", head.pool);
            return Err(error::unexpected("NOT_FROZEN", text));
        }
        let change = Change::Unfreeze(note(request.requested_by, request.reason));
        self.change(&head, request.expected_version, change).await?;
        let head = version::newest(&self.store, &head.pool)?;
        let pool = Some(self.pool(&head));
        Ok(Response::new(UnfreezeResponse { pool }))
    }

    async fn pin(&self, request: Request<PinRequest>) -> Result<Response<PinResponse>, Status> {
        let call = super::call(&request);
        let meta = self.version(&call, request.into_inner().version)?;
        call.changes(format!("pin version {}", meta.version));
        self.change(&meta, 0, Change::Pin(meta.version)).await?;
        let snapshot = Some(self.info(&meta));
        Ok(Response::new(PinResponse { snapshot }))
    }

    async fn unpin(
        &self,
        request: Request<UnpinRequest>,
    ) -> Result<Response<UnpinResponse>, Status> {
        let call = super::call(&request);
        let meta = self.version(&call, request.into_inner().version)?;
        call.changes(format!("unpin version {}", meta.version));
        self.change(&meta, 0, Change::Unpin(meta.version)).await?;
        let snapshot = Some(self.info(&meta));
        Ok(Response::new(UnpinResponse { snapshot }))
    }

    async fn label(
        &self,
        request: Request<LabelRequest>,
    ) -> Result<Response<LabelResponse>, Status> {
        let call = super::call(&request);
        let request = request.into_inner();
        let meta = self.version(&call, request.version)?;
        call.changes(format!(
            "label version {} as {}",
            meta.version, request.label
        ));
        let label = raft::Label {
            name: request.label,
            version: meta.version,
        };
        self.change(&meta, 0, Change::Label(label)).await?;
        let snapshot = Some(self.info(&meta));
        Ok(Response::new(LabelResponse { snapshot }))
    }

    async fn unlabel(
        &self,
        request: Request<UnlabelRequest>,
    ) -> Result<Response<UnlabelResponse>, Status> {
        let call = super::call(&request);
        let request = request.into_inner();
        call.about(&request.pool, "")
            .changes(format!("take label {} away", request.label));
        let meta = version::labelled(&self.store, &request.pool, &request.label)?;
        call.about(&meta.pool, "");
        let change = Change::Unlabel(request.label);
        self.change(&meta, 0, change).await?;
        let snapshot = Some(self.info(&meta));
        Ok(Response::new(UnlabelResponse { snapshot }))
    }

    async fn blame(
        &self,
        request: Request<BlameRequest>,
    ) -> Result<Response<BlameResponse>, Status> {
        let answer = blame::answer(&self.store, request.into_inner())?;
        Ok(Response::new(answer))
    }
}

impl HistoryEditor {
    /// The version that a call is about.
    fn version(
        &self,
        call: &Call,
        version: Option<VersionRef>,
    ) -> Result<Arc<SnapshotMeta>, Status> {
        let VersionRef { pool, version } = version.unwrap_or_default();
        call.about(&pool, "");
        let found = match version {
            None => version::newest(&self.store, &pool),
            Some(version_ref::Version::Number(number)) => {
                version::numbered(&self.store, &pool, number)
            }
            Some(version_ref::Version::Label(label)) => {
                version::labelled(&self.store, &pool, &label)
            }
        }?;
        call.about(&found.pool, "");
        Ok(found)
    }

    /// Changes what is said about the versions of a pool, if `head` is its newest one or 0.
    async fn change(&self, of: &SnapshotMeta, head: u64, change: Change) -> Result<(), Status> {
        let command = Command::ChangePool(ChangePool {
            pool: of.pool.to_string(),
            head,
            change: Some(change),
        });
        let outcome = self.store.propose(command).await;
        error::pool_changed(&of.pool, outcome.map_err(|error| error::store(&error))?)?;
        catch_up(&self.store).await
    }

    fn refuse_during_rollout(&self, head: &SnapshotMeta) -> Result<(), Status> {
        let marks = self.store.marks(&head.pool);
        marks.rollout.as_ref().map_or(Ok(()), |rollout| {
            let text = format!(
                "a rollout of snapshot {} of pool {} is under way; promote or abort it first",
                rollout.id, head.pool
            );
            Err(error::unexpected("ROLLOUT", text))
        })
    }

    fn info(&self, meta: &SnapshotMeta) -> SnapshotInfo {
        wire::marked_info(meta, &self.store.marks(&meta.pool))
    }

    fn pool(&self, head: &SnapshotMeta) -> Pool {
        let marks = self.store.marks(&head.pool);
        let freeze = marks.freeze.as_ref().map(|note| Freeze {
            by: note.by.clone(),
            reason: note.reason.clone(),
            since_unix_ms: note.at_unix_ms,
        });
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (converged, workers) = self.fleet.serving(&head.pool, head.version);
        Pool {
            name: head.pool.to_string(),
            newest: Some(wire::marked_info(head, &marks)),
            freeze,
            workers: count(workers),
            converged: count(converged),
        }
    }
}

/// Lets a node that does not lead see what it has asked the leader to write.
pub(crate) async fn catch_up(store: &Store) -> Result<(), Status> {
    let seen = store.linearize().await;
    seen.map_err(|error| error::store(&error))
}

/// Who does something now, and why.
pub(crate) fn note(by: String, reason: String) -> raft::Note {
    let by = if by.is_empty() {
        "somebody".to_owned()
    } else {
        by
    };
    raft::Note {
        by,
        reason,
        at_unix_ms: clock::unix_ms(),
    }
}

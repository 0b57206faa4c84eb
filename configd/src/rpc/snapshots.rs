//! SnapshotService: snapshots out.

pub(crate) mod read;
mod subscribe;

use tidegate_proto::objects::v1::WaitFor;
use tidegate_proto::snapshots::v1::snapshot_service_server::SnapshotService;
use tidegate_proto::snapshots::v1::{
    DiffSnapshotsRequest, DiffSnapshotsResponse, GetSnapshotRequest, GetSnapshotResponse,
    ListSnapshotsRequest, ListSnapshotsResponse, ListWorkersRequest, ListWorkersResponse,
    SubscribeRequest, SubscribeResponse, WaitRequest, WaitResponse, WatchSnapshotsRequest,
    WatchSnapshotsResponse,
};
use tidegate_runtime::tasks::Tasks;
use tidegate_store::Store;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, version};
use crate::audit::AuditLog;
use crate::feed::{Bulk, WholeSnapshots};
use crate::fleet::Fleet;
use crate::progress::{self, Goal, Progress};
use crate::sealing::Sealing;
use crate::wire;

/// Versions of one page, unless the caller asks for fewer.
const PAGE_DEFAULT: u32 = 50;

/// Versions of one page, at most.
const PAGE_MAX: u32 = 1_000;

/// Answers that may wait for a reader.
const QUEUE_LEN_MAX: usize = 4;

/// The path of the method that workers call.
const SUBSCRIBE: &str = "/tidegate.snapshots.v1.SnapshotService/Subscribe";

/// Answers SnapshotService.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) bulk: Bulk,
    pub(crate) whole: WholeSnapshots,
    pub(crate) progress: Progress,
    pub(crate) audit: AuditLog,
    pub(crate) sealing: Sealing,
    /// Whether this replica is in touch with its cluster.
    pub(crate) in_touch: watch::Receiver<bool>,
    pub(crate) tasks: Tasks,
    /// Ends every stream, so that the server can stop.
    pub(crate) end: CancellationToken,
}

#[tonic::async_trait]
impl SnapshotService for Snapshots {
    type SubscribeStream = Answers<SubscribeResponse>;
    type GetSnapshotStream = Answers<GetSnapshotResponse>;
    type WatchSnapshotsStream = Answers<WatchSnapshotsResponse>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = super::caller(&request)?;
        let (outbox, answers) = mpsc::channel(QUEUE_LEN_MAX);
        let subscription = subscribe::Subscription {
            store: self.store.clone(),
            fleet: self.fleet.clone(),
            bulk: self.bulk.clone(),
            whole: self.whole.clone(),
            sealing: self.sealing.clone(),
            audit: self.audit.clone(),
            caller,
            in_touch: self.in_touch.clone(),
            requests: request.into_inner(),
            outbox,
        };
        let end = self.end.clone();
        self.tasks.spawn("snapshot feed", async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = subscription.run() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn get_snapshot(
        &self,
        request: Request<GetSnapshotRequest>,
    ) -> Result<Response<Self::GetSnapshotStream>, Status> {
        let request = request.into_inner();
        let meta = version::numbered(&self.store, &request.pool, request.version)?;
        let pieces = read::pieces(&self.store, &meta)?;
        Ok(Response::new(Box::pin(tokio_stream::iter(
            pieces.into_iter().map(Ok),
        ))))
    }

    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        let request = request.into_inner();
        let limit = match request.page_size {
            0 => PAGE_DEFAULT,
            size => size.min(PAGE_MAX),
        } as usize;
        Ok(Response::new(read::page(
            &self.store,
            &request.pool,
            limit,
            &request.page_token,
        )?))
    }

    async fn diff_snapshots(
        &self,
        request: Request<DiffSnapshotsRequest>,
    ) -> Result<Response<DiffSnapshotsResponse>, Status> {
        let request = request.into_inner();
        let to = version::numbered(&self.store, &request.pool, request.to_version)?;
        let from = match request.from_version {
            0 if to.parent == 0 => None,
            0 => Some(version::numbered(&self.store, &to.pool, to.parent)?),
            from => Some(version::numbered(&self.store, &to.pool, from)?),
        };
        let changes = read::differences(&self.store, from.as_deref(), &to)?;
        let from = from.map(|from| wire::snapshot_info(&from));
        let to = Some(wire::snapshot_info(&to));
        Ok(Response::new(DiffSnapshotsResponse { from, to, changes }))
    }

    async fn watch_snapshots(
        &self,
        request: Request<WatchSnapshotsRequest>,
    ) -> Result<Response<Self::WatchSnapshotsStream>, Status> {
        let (outbox, answers) = mpsc::channel(QUEUE_LEN_MAX);
        let watch = subscribe::watch_heads(self.store.clone(), request.into_inner().pool, outbox);
        let end = self.end.clone();
        self.tasks.spawn("snapshot watch", async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = watch => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn list_workers(
        &self,
        request: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        let request = request.into_inner();
        let workers = match request.only_here {
            true => self.fleet.list_here(&request.pool),
            false => self.fleet.list(&request.pool),
        };
        Ok(Response::new(ListWorkersResponse { workers }))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Result<Response<WaitResponse>, Status> {
        let request = request.into_inner();
        if !request.pool.is_empty() {
            version::newest(&self.store, &request.pool)?;
        }
        let timeout = progress::timeout(request.timeout_ms)?;
        let goal = Goal {
            revision: (request.revision > 0).then_some(request.revision),
            wait_for: match request.wait_for() {
                WaitFor::Unspecified => WaitFor::Converged,
                asked => asked,
            },
            pool: request.pool,
        };
        let newest = self.progress.reach(&goal, timeout).await?;
        let newest = newest
            .iter()
            .map(|meta| wire::snapshot_info(meta))
            .collect();
        Ok(Response::new(WaitResponse { newest }))
    }
}

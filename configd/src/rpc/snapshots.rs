//! SnapshotService: snapshots out.

mod read;
mod subscribe;

use std::sync::Arc;

use tidegate_proto::snapshots::v1::snapshot_service_server::SnapshotService;
use tidegate_proto::snapshots::v1::{
    DiffSnapshotsRequest, DiffSnapshotsResponse, GetSnapshotRequest, GetSnapshotResponse,
    ListSnapshotsRequest, ListSnapshotsResponse, ListWorkersRequest, ListWorkersResponse,
    SubscribeRequest, SubscribeResponse, WatchSnapshotsRequest, WatchSnapshotsResponse,
};
use tidegate_runtime::tasks::Tasks;
use tidegate_store::{SnapshotMeta, Store};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Answers;
use crate::audit::AuditLog;
use crate::fleet::Fleet;
use crate::pools::heads;
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
    pub(crate) audit: AuditLog,
    pub(crate) sealing: Sealing,
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
            audit: self.audit.clone(),
            sealing: self.sealing.clone(),
            caller,
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
        let meta = self.version(&request.pool, request.version)?;
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
        let to = self.version(&request.pool, request.to_version)?;
        let from = match request.from_version {
            0 if to.parent == 0 => None,
            0 => Some(self.version(&to.pool, to.parent)?),
            version => Some(self.version(&to.pool, version)?),
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
        let watch = subscribe::watch(self.store.clone(), request.into_inner().pool, outbox);
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
        let workers = self.fleet.list(&request.into_inner().pool);
        Ok(Response::new(ListWorkersResponse { workers }))
    }
}

impl Snapshots {
    /// A version of a pool; 0 is the newest, and an empty pool is the only one.
    fn version(&self, pool: &str, version: u64) -> Result<Arc<SnapshotMeta>, Status> {
        let heads = heads(&self.store);
        let head = match heads
            .iter()
            .filter(|head| pool.is_empty() || *head.pool == *pool)
            .collect::<Vec<_>>()[..]
        {
            [head] => head.clone(),
            [] if pool.is_empty() => return Err(Status::not_found("there is no snapshot yet")),
            [] => {
                return Err(Status::not_found(format!(
                    "pool {pool} has no snapshot; see ListSnapshots"
                )));
            }
            _ => {
                let pools: Vec<&str> = heads.iter().map(|head| &*head.pool).collect();
                let pools = pools.join(", ");
                return Err(Status::invalid_argument(format!(
                    "name one of the pools: {pools}"
                )));
            }
        };
        if version == 0 || version == head.version {
            return Ok(head);
        }
        self.store.meta(&head.pool, version).ok_or_else(|| {
            let newest = head.version;
            let text = format!(
                "pool {} has no version {version}; the newest is {newest}",
                head.pool
            );
            if version < newest {
                Status::out_of_range(text + " and the version is not kept any more")
            } else {
                Status::not_found(text)
            }
        })
    }
}

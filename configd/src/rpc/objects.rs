//! ObjectService: objects in.

pub(super) mod check;
mod redact;
mod resync;
mod stamp;
mod watch;

use std::sync::Arc;

use prost::Message as _;
use tidegate_proto::objects::v1::object_service_server::ObjectService;
use tidegate_proto::objects::v1::{
    ApplyMode, ApplyRequest, ApplyResponse, GetObjectRequest, GetObjectResponse,
    ListObjectsRequest, ListObjectsResponse, Object, ObjectKey, ResyncRequest, ResyncResponse,
    StoredObject, WatchObjectsRequest, WatchObjectsResponse,
};
use tidegate_proto::raft::v1::session_write::Write;
use tidegate_proto::raft::v1::{PutObjects, SessionWrite};
use tidegate_runtime::tasks::Tasks;
use tidegate_store::{Command, ObjectFilter, Store};
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Answers;
use super::recorder::Recorder;
use crate::audit::Event;
use crate::checked::CheckedObjects;
use crate::clock;
use crate::error::{self, Violation};
use crate::progress::{self, Progress};
use crate::sealing::Sealing;
use watch::Watch;

/// Objects of one page, unless the caller asks for fewer.
const PAGE_DEFAULT: u32 = 500;

/// Objects of one page, at most.
const PAGE_MAX: u32 = 5_000;

/// Watches of objects at a time, at most.
const WATCHES_MAX: usize = 1_000;

/// Bytes of a batch, at most; what the store adds to it stays within its own bound.
const BATCH_LEN_MAX: usize = (16 << 20) - 64;

/// The path of the method, for the audit log.
const APPLY: &str = "/tidegate.objects.v1.ObjectService/Apply";

/// Answers ObjectService.
#[derive(Clone)]
pub(crate) struct Objects {
    recorder: Recorder,
    progress: Progress,
    sealing: Sealing,
    /// What the publisher will ask for.
    checked: CheckedObjects,
    watches: Arc<Semaphore>,
    tasks: Tasks,
    /// Ends every stream, so that the server can stop.
    end: CancellationToken,
}

impl Objects {
    pub(crate) fn new(
        recorder: Recorder,
        progress: Progress,
        (sealing, checked): (Sealing, CheckedObjects),
        tasks: Tasks,
        end: CancellationToken,
    ) -> Self {
        Self {
            recorder,
            progress,
            sealing,
            checked,
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
            tasks,
            end,
        }
    }

    /// Waits until this replica has every write that was answered before.
    async fn linearize(&self, stale: bool) -> Result<(), Status> {
        if stale {
            return Ok(());
        }
        super::history::catch_up(self.store()).await
    }

    fn store(&self) -> &Store {
        &self.recorder.store
    }

    /// Everything that keeps a batch from being written, whatever is stored.
    fn check_batch(&self, request: &ApplyRequest) -> Result<(), Status> {
        let len = request.encoded_len();
        if len > BATCH_LEN_MAX {
            return Err(error::too_large(format!(
                "the batch has {len} bytes, at most {BATCH_LEN_MAX} are taken; send several, or a Resync"
            )));
        }
        // Only the leader's publisher will ask.
        let leads = *self.store().watch_leader().borrow();
        let mut last: Option<tidegate_store::ObjectKey> = None;
        let keep = |object: &Object, checked| {
            let key = object
                .key
                .as_ref()
                .filter(|key| leads && key.kind != "Secret");
            if let Some(key) = key {
                let key = tidegate_store::ObjectKey::after(last.as_ref(), key);
                last = Some(key.clone());
                let content = object.content.clone();
                self.checked.keep(key, content, checked);
            }
        };
        let mut violations = check::batch(request, keep);
        violations.extend(check::session(request.session, request.sequence));
        match violations.as_slice() {
            [] => Ok(()),
            violations => Err(error::invalid(violations)),
        }
    }
}

#[tonic::async_trait]
impl ObjectService for Objects {
    type WatchObjectsStream = Answers<WatchObjectsResponse>;

    async fn apply(
        &self,
        request: Request<ApplyRequest>,
    ) -> Result<Response<ApplyResponse>, Status> {
        let caller = super::caller(&request)?;
        let mut request = request.into_inner();
        let stamped = stamp::batch(&mut request, &caller);
        let event = Event::new(&caller, APPLY)
            .asked(&request.source, &request.request_id, &request.reason)
            .changing(request.operations.iter().map(crate::name::of_operation));
        if let Err(refusal) = stamped {
            return Err(self.recorder.refused(event, error::refused(&refusal)));
        }
        if let Err(refusal) = self.check_batch(&request) {
            return Err(self.recorder.refused(event, refusal));
        }
        let wait_for = request.wait_for();
        let timeout = progress::timeout(request.wait_timeout_ms)?;
        self.sealing.seal_operations(&mut request.operations);
        let (session, sequence, mode) = (request.session, request.sequence, request.mode());
        let put = PutObjects {
            source: request.source,
            operations: request.operations,
            request_id: request.request_id,
            reason: request.reason,
            base_revision: None,
        };
        if mode == ApplyMode::DryRun {
            let tried = error::applied(self.store().preview(&put))?;
            return Ok(Response::new(ApplyResponse {
                revision: tried.revision,
                changed: tried.changed,
                ..ApplyResponse::default()
            }));
        }
        let command = match session {
            0 => Command::PutObjects(put),
            _ => in_session(session, sequence, Write::PutObjects(put)),
        };
        let read = |outcome| error::applied(outcome).map(|stored| (stored.revision, stored));
        let stored = self.recorder.write(event, command, read).await?;
        let revision = stored.revision;
        let (reached, pending) = self.progress.come_far(revision, wait_for, timeout).await;
        Ok(Response::new(ApplyResponse {
            revision,
            changed: stored.changed,
            reached: reached.into(),
            pending,
            replayed: stored.replayed,
        }))
    }

    async fn resync(
        &self,
        request: Request<Streaming<ResyncRequest>>,
    ) -> Result<Response<ResyncResponse>, Status> {
        let caller = super::caller(&request)?;
        let (own, end) = (self.clone(), self.end.clone());
        // A caller that goes drops its request; what it has sent is taken back and recorded all the same.
        let resyncing = crate::call::carried_on(async move {
            let shared = (&own.recorder, &own.progress, &own.sealing);
            let carried = resync::carry_out(shared, &caller, request);
            end.run_until_cancelled(carried).await
        });
        match self.tasks.spawn("resync", resyncing).await {
            Ok(Some(answer)) => answer.map(Response::new),
            Ok(None) => Err(Status::unavailable("configd is stopping")),
            Err(_) => Err(Status::internal(
                "the resync failed; configd's log says why",
            )),
        }
    }

    async fn get_object(
        &self,
        request: Request<GetObjectRequest>,
    ) -> Result<Response<GetObjectResponse>, Status> {
        let caller = super::caller(&request)?;
        let request = request.into_inner();
        let mut key = request.key.unwrap_or_default();
        key.source = super::source(&caller, &key.source)?;
        self.linearize(request.stale).await?;
        let object = self.store().get(&(&key).into());
        let object = object.ok_or_else(|| {
            let name = crate::name::of_wire(&key);
            Status::not_found(format!("{name} is not stored for source {}", key.source))
        })?;
        let object = Some(redact::readable(&self.sealing, object.to_proto()));
        Ok(Response::new(GetObjectResponse { object }))
    }

    async fn list_objects(
        &self,
        request: Request<ListObjectsRequest>,
    ) -> Result<Response<ListObjectsResponse>, Status> {
        let caller = super::caller(&request)?;
        let mut request = request.into_inner();
        request.source = super::source(&caller, &request.source)?;
        self.linearize(request.stale).await?;
        let limit = match request.page_size {
            0 => PAGE_DEFAULT,
            size => size.min(PAGE_MAX),
        } as usize;
        let filter = ObjectFilter {
            source: request.source,
            group: request.group,
            kind: request.kind,
            namespace: request.namespace,
            after: page_start(&request.page_token)?,
            limit: Some(limit + 1),
        };
        let (revision, objects) = self.store().objects(&filter);
        let mut objects: Vec<StoredObject> =
            objects.iter().map(|object| object.to_proto()).collect();
        let more = objects.len() > limit;
        objects.truncate(limit);
        let last = objects
            .last()
            .and_then(|last| last.object.as_ref()?.key.as_ref());
        let next_page_token = last.filter(|_| more).map(page_token).unwrap_or_default();
        let readable = |object| redact::readable(&self.sealing, object);
        let objects = objects.into_iter().map(readable).collect();
        Ok(Response::new(ListObjectsResponse {
            objects,
            next_page_token,
            revision,
        }))
    }

    async fn watch_objects(
        &self,
        request: Request<WatchObjectsRequest>,
    ) -> Result<Response<Self::WatchObjectsStream>, Status> {
        let caller = super::caller(&request)?;
        let request = request.into_inner();
        let filter = ObjectFilter {
            source: super::source(&caller, &request.source)?,
            group: request.group,
            kind: request.kind,
            namespace: request.namespace,
            ..ObjectFilter::default()
        };
        let place = self.watches.clone().try_acquire_owned();
        let place = place.map_err(|_| error::too_many_watches(WATCHES_MAX))?;
        let watch = Watch::begin(
            (self.store().clone(), self.sealing.clone()),
            filter,
            request.after_revision,
        )
        .await?;
        let (outlet, messages) = Watch::channel();
        let end = self.end.clone();
        self.tasks.spawn("object watch", async move {
            end.run_until_cancelled(watch.run(outlet)).await;
            drop(place);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

/// A write as the next one of a session.
fn in_session(session: u64, sequence: u64, write: Write) -> Command {
    Command::SessionWrite(SessionWrite {
        session,
        sequence,
        at_unix_ms: clock::unix_ms(),
        write: Some(write),
    })
}

fn page_token(key: &ObjectKey) -> String {
    [
        &key.source,
        &key.group,
        &key.kind,
        &key.namespace,
        &key.name,
    ]
    .map(String::as_str)
    .join("|")
}

fn page_start(token: &str) -> Result<Option<tidegate_store::ObjectKey>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let fields: Vec<&str> = token.split('|').collect();
    let [source, group, kind, namespace, name] = fields.try_into().map_err(|_| {
        error::invalid(&[Violation::new(
            "page_token",
            "the token is not one that this service gave out",
        )])
    })?;
    Ok(Some(tidegate_store::ObjectKey::new(
        source, group, kind, namespace, name,
    )))
}

//! ObjectService: objects in.

pub(super) mod check;
mod redact;
mod stamp;

use std::collections::BTreeSet;

use tidegate_proto::objects::v1::object_service_server::ObjectService;
use tidegate_proto::objects::v1::{
    ApplyMode, ApplyRequest, ApplyResponse, GetObjectRequest, GetObjectResponse,
    ListObjectsRequest, ListObjectsResponse, Object, ObjectKey, Operation, ResyncRequest,
    ResyncResponse, StoredObject, operation,
};
use tidegate_proto::raft::v1::PutObjects;
use tidegate_store::{Command, ObjectFilter, Store};
use tonic::{Request, Response, Status, Streaming};

use crate::audit::{AuditLog, Event};
use crate::caller::Caller;
use crate::error::{self, Violation};
use crate::progress::{self, Progress};
use crate::sealing::Sealing;
use crate::wire;

/// Objects of one page, unless the caller asks for fewer.
const PAGE_DEFAULT: u32 = 500;

/// Objects of one page, at most.
const PAGE_MAX: u32 = 5_000;

/// Bytes of a streamed set, at most.
const RESYNC_BYTES_MAX: usize = 256 << 20;

/// The paths of the methods that write.
const APPLY: &str = "/tidegate.objects.v1.ObjectService/Apply";
const RESYNC: &str = "/tidegate.objects.v1.ObjectService/Resync";

/// Answers ObjectService.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    store: Store,
    progress: Progress,
    audit: AuditLog,
    sealing: Sealing,
}

impl Objects {
    pub(crate) fn new(store: Store, progress: Progress, audit: AuditLog, sealing: Sealing) -> Self {
        Self {
            store,
            progress,
            audit,
            sealing,
        }
    }

    /// An object as it may be read: opened, then without its secrets.
    fn readable(&self, mut stored: StoredObject) -> StoredObject {
        if let Some(object) = &mut stored.object {
            // What cannot be opened is shown without content.
            object.content = self.sealing.open(&object.content).unwrap_or_default();
        }
        redact::redacted(stored)
    }

    /// Waits until this replica has every write that was answered before.
    async fn linearize(&self, stale: bool) -> Result<(), Status> {
        if stale {
            return Ok(());
        }
        let linear = self.store.linearize().await;
        linear.map_err(|error| error::store(&error))
    }

    async fn propose(&self, put: PutObjects) -> Result<(u64, u32), Status> {
        let outcome = self.store.propose(Command::PutObjects(put)).await;
        error::applied(outcome.map_err(|error| error::store(&error))?)
    }

    /// Proposes a change and records what came of it. One that is stored but not recorded is no success: its
    /// caller has to know.
    async fn write(&self, event: Event, put: PutObjects) -> Result<(u64, u32), Status> {
        self.audit.check()?;
        let answer = self.propose(put).await;
        let outcome = answer.as_ref().map(|(revision, _)| *revision);
        let recorded = self.audit.write(event.ended(outcome)).await;
        match (answer, recorded) {
            (answer, Ok(())) => answer,
            (Ok((revision, _)), Err(unrecorded)) => Err(Status::unavailable(format!(
                "stored as revision {revision}, but without a record of it: {}",
                unrecorded.message()
            ))),
            (Err(_), Err(unrecorded)) => Err(unrecorded),
        }
    }

    /// Records a refusal, and hands it on.
    fn refused(&self, event: Event, status: Status) -> Status {
        self.audit.refused(event.ended(Err(&status)));
        status
    }
}

#[tonic::async_trait]
impl ObjectService for Objects {
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
            return Err(self.refused(event, error::refused(&refusal)));
        }
        let violations = check::batch(&request);
        if !violations.is_empty() {
            return Err(self.refused(event, error::invalid(&violations)));
        }
        if request.mode() == ApplyMode::DryRun {
            let revision = self.store.revision();
            return Ok(Response::new(ApplyResponse {
                revision,
                ..ApplyResponse::default()
            }));
        }
        let wait_for = request.wait_for();
        let timeout = progress::timeout(request.wait_timeout_ms)?;
        self.sealing.seal_operations(&mut request.operations);
        let put = PutObjects {
            source: request.source,
            operations: request.operations,
            request_id: request.request_id,
            reason: request.reason,
            base_revision: None,
        };
        let (revision, changed) = self.write(event, put).await?;
        let (reached, pending) = self.progress.come_far(revision, wait_for, timeout).await;
        Ok(Response::new(ApplyResponse {
            revision,
            changed,
            reached: reached.into(),
            pending,
        }))
    }

    async fn resync(
        &self,
        request: Request<Streaming<ResyncRequest>>,
    ) -> Result<Response<ResyncResponse>, Status> {
        let caller = super::caller(&request)?;
        let event = Event::new(&caller, RESYNC);
        let set = match Set::receive(request.into_inner(), &caller).await {
            Ok(set) => set.sealed(&self.sealing),
            Err(status) => return Err(self.refused(event, status)),
        };
        self.linearize(false).await?;
        let (operations, put, deleted) = set.changes(&self.store);
        if operations.is_empty() {
            let revision = self.store.revision();
            return Ok(Response::new(ResyncResponse {
                revision,
                put,
                deleted,
            }));
        }
        let event = event
            .asked(&set.source, "", &set.reason)
            .changing(operations.iter().map(crate::name::of_operation));
        let put_objects = PutObjects {
            source: set.source,
            operations,
            request_id: String::new(),
            reason: set.reason,
            base_revision: None,
        };
        let (revision, _) = self.write(event, put_objects).await?;
        Ok(Response::new(ResyncResponse {
            revision,
            put,
            deleted,
        }))
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
        let object = self.store.get(&wire::stored_key(&key));
        let object = object.ok_or_else(|| {
            let name = crate::name::of_wire(&key);
            Status::not_found(format!("{name} is not stored for source {}", key.source))
        })?;
        let object = Some(self.readable(object.to_proto()));
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
        let (revision, objects) = self.store.objects(&filter);
        let mut objects: Vec<StoredObject> =
            objects.iter().map(|object| object.to_proto()).collect();
        let more = objects.len() > limit;
        objects.truncate(limit);
        let last = objects
            .last()
            .and_then(|last| last.object.as_ref()?.key.as_ref());
        let next_page_token = last.filter(|_| more).map(page_token).unwrap_or_default();
        let objects = objects.into_iter();
        let objects = objects.map(|object| self.readable(object)).collect();
        Ok(Response::new(ListObjectsResponse {
            objects,
            next_page_token,
            revision,
        }))
    }
}

/// A streamed set, complete and checked.
struct Set {
    source: String,
    reason: String,
    objects: Vec<Object>,
}

impl Set {
    async fn receive(
        mut stream: Streaming<ResyncRequest>,
        caller: &Caller,
    ) -> Result<Self, Status> {
        let mut set = Self {
            source: String::new(),
            reason: String::new(),
            objects: vec![],
        };
        let mut bytes = 0;
        let mut first = true;
        while let Some(mut request) = stream.message().await? {
            stamp::set(&mut request, caller).map_err(|refusal| error::refused(&refusal))?;
            if first {
                set.source = request.source;
                set.reason = request.reason;
                first = false;
            } else if request.source != set.source {
                let description = format!("the stream began as source {}", set.source);
                return Err(error::invalid(&[Violation::new("source", description)]));
            }
            bytes += request
                .objects
                .iter()
                .map(|object| object.content.len())
                .sum::<usize>();
            if bytes > RESYNC_BYTES_MAX {
                return Err(Status::resource_exhausted(
                    "the set has more than 256 MiB; split the source",
                ));
            }
            set.objects.extend(request.objects);
        }
        let violations = check::set(&set.source, &set.objects);
        if violations.is_empty() {
            Ok(set)
        } else {
            Err(error::invalid(&violations))
        }
    }

    /// The same with its Secrets sealed. Sealing is deterministic, so what did not change still equals what is stored.
    fn sealed(mut self, sealing: &Sealing) -> Self {
        self.objects
            .iter_mut()
            .for_each(|object| sealing.seal_object(object));
        self
    }

    /// What turns the stored objects of the source into the set: the changes, how many are put and deleted.
    fn changes(&self, store: &Store) -> (Vec<Operation>, u32, u32) {
        let filter = ObjectFilter {
            source: self.source.clone(),
            ..ObjectFilter::default()
        };
        let (_, stored) = store.objects(&filter);
        let kept: BTreeSet<_> = self
            .objects
            .iter()
            .filter_map(|object| object.key.as_ref())
            .map(wire::stored_key)
            .collect();
        let differs = |object: &&Object| {
            let stored = object
                .key
                .as_ref()
                .and_then(|key| store.get(&wire::stored_key(key)));
            stored.and_then(|stored| stored.to_proto().object).as_ref() != Some(*object)
        };
        let mut operations: Vec<Operation> = self
            .objects
            .iter()
            .filter(differs)
            .map(|object| change(operation::Operation::Put(object.clone())))
            .collect();
        let put = operations.len() as u32;
        let gone = stored.iter().filter(|object| !kept.contains(&object.key));
        operations.extend(gone.filter_map(|object| {
            let key = object.to_proto().object?.key?;
            Some(change(operation::Operation::Delete(key)))
        }));
        let deleted = operations.len() as u32 - put;
        (operations, put, deleted)
    }
}

fn change(operation: operation::Operation) -> Operation {
    Operation {
        operation: Some(operation),
        precondition: None,
    }
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
    let fields: Vec<String> = token.split('|').map(str::to_owned).collect();
    let [source, group, kind, namespace, name] = fields.try_into().map_err(|_| {
        error::invalid(&[Violation::new(
            "page_token",
            "the token is not one that this service gave out",
        )])
    })?;
    Ok(Some(tidegate_store::ObjectKey {
        source,
        group,
        kind,
        namespace,
        name,
    }))
}

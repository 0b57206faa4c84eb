//! ExplainService: what the workers would do, and which rules nothing reaches.

use std::sync::Arc;

use tidegate_compiler::Compilation;
use tidegate_ir::{EncodedPart, PartKind, Snapshot};
use tidegate_proto::explain::v1::explain_service_server::ExplainService;
use tidegate_proto::explain::v1::{
    ExplainRouteRequest, ExplainRouteResponse, GetCoverageRequest, GetCoverageResponse,
};
use tidegate_proto::snapshots::v1::Worker;
use tidegate_runtime::tasks::Tasks;
use tidegate_store::{SnapshotMeta, Store};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::plans::Planner;
use super::snapshots::read::manifest;
use super::version;
use crate::explain::{self, Unexplained};
use crate::fleet::Fleet;
use crate::{error, wire};

/// Questions that are answered at a time: each builds the table of a whole snapshot.
const AT_ONCE: usize = 2;

/// Answers ExplainService.
#[derive(Debug)]
pub(crate) struct Explainer {
    store: Store,
    fleet: Fleet,
    tasks: Tasks,
    planner: Planner,
    room: Arc<Semaphore>,
}

impl Explainer {
    pub(crate) fn new(planner: Planner, fleet: Fleet, tasks: Tasks) -> Self {
        Self {
            store: planner.store.clone(),
            fleet,
            tasks,
            planner,
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Has a version looked at.
    async fn look<T: Send + 'static>(
        &self,
        meta: &Arc<SnapshotMeta>,
        look: impl FnOnce(&Snapshot) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let (store, meta) = (self.store.clone(), meta.clone());
        let read = move || snapshot(&store, &meta);
        self.look_beside(read, look).await
    }

    /// Has a snapshot looked at beside the threads that answer everybody else.
    async fn look_beside<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<Snapshot, Status> + Send + 'static,
        look: impl FnOnce(&Snapshot) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let stopped = |_| Status::internal("the question found no answer; configd's log says why");
        let room = self.room.clone().acquire_owned().await;
        let room = room.map_err(|_| Status::unavailable("this configd stops"))?;
        let looking = self.tasks.spawn_blocking("explain", move || {
            let _room = room;
            read().map(|snapshot| look(&snapshot))
        });
        looking.await.map_err(stopped)?
    }

    /// Explains what would become of it after a plan.
    async fn explain_plan(
        &self,
        question: ExplainRouteRequest,
    ) -> Result<ExplainRouteResponse, Status> {
        if question.version != 0 {
            let text = "name a plan or a version, not both";
            return Err(error::invalid(&[error::Violation::new("plan", text)]));
        }
        let mut compiled = self.planner.compiled(&question.plan).await?;
        let pool = planned(&compiled, &question.pool)?;
        let bound = sockets(&self.fleet.list(&pool));
        let parts = compiled.pools.remove(&pool).unwrap_or_default();
        let read = move || {
            let public = parts.values();
            let public = public.filter(|part| part.key().kind != PartKind::PrivateKey);
            Ok(Snapshot::new(pool, 0, public.cloned().collect::<Vec<_>>()))
        };
        let look = move |snapshot: &Snapshot| explain::route(snapshot, &question, &bound);
        let explained = self.look_beside(read, look).await?;
        explained.map_err(|why| unexplained(&why))
    }
}

#[tonic::async_trait]
impl ExplainService for Explainer {
    async fn explain_route(
        &self,
        request: Request<ExplainRouteRequest>,
    ) -> Result<Response<ExplainRouteResponse>, Status> {
        let question = request.into_inner();
        if !question.plan.is_empty() {
            let explained = self.explain_plan(question).await?;
            return Ok(Response::new(explained));
        }
        let meta = version::numbered(&self.store, &question.pool, question.version)?;
        let bound = sockets(&self.fleet.list(&meta.pool));
        let explained = self.look(&meta, move |snapshot| {
            explain::route(snapshot, &question, &bound)
        });
        let explained = explained.await?.map_err(|why| unexplained(&why))?;
        Ok(Response::new(ExplainRouteResponse {
            snapshot: Some(wire::snapshot_info(&meta)),
            ..explained
        }))
    }

    async fn get_coverage(
        &self,
        request: Request<GetCoverageRequest>,
    ) -> Result<Response<GetCoverageResponse>, Status> {
        let request = request.into_inner();
        let meta = version::numbered(&self.store, &request.pool, request.version)?;
        let coverage = self.look(&meta, explain::coverage).await?;
        Ok(Response::new(GetCoverageResponse {
            snapshot: Some(wire::snapshot_info(&meta)),
            ..coverage
        }))
    }
}

/// The pool of that name, or the only one, that there would be.
fn planned(compiled: &Compilation, pool: &str) -> Result<String, Status> {
    let names: Vec<&str> = compiled.pools.keys().map(String::as_str).collect();
    match names[..] {
        [only] if pool.is_empty() => Ok(only.to_owned()),
        [] => Err(error::missing(
            "pool",
            pool,
            "after the plan there would be no pool",
        )),
        _ if pool.is_empty() => {
            let text = format!("name one of the pools: {}", names.join(", "));
            Err(Status::invalid_argument(text))
        }
        _ if names.contains(&pool) => Ok(pool.to_owned()),
        _ => {
            let text = format!(
                "after the plan there would be no pool {pool}, but {}",
                names.join(", ")
            );
            Err(error::missing("pool", pool, text))
        }
    }
}

/// A version without its private keys, which decide nothing.
fn snapshot(store: &Store, meta: &SnapshotMeta) -> Result<Snapshot, Status> {
    let mut parts = Vec::new();
    for part in manifest(store, meta)?.iter() {
        let kind = PartKind::from_number(part.kind);
        let Some(kind) = kind.filter(|kind| *kind != PartKind::PrivateKey) else {
            continue;
        };
        let bytes = store.blob(&part.digest);
        let bytes = bytes.map_err(|error| error::store(&error))?;
        let decoded = EncodedPart::decode(kind, bytes);
        parts.push(decoded.map_err(|error| Status::internal(error::chain(&error)))?);
    }
    Ok(Snapshot::new(meta.pool.clone(), meta.version, parts))
}

/// The name of each listener and the port of its socket, as the workers say.
fn sockets(workers: &[Worker]) -> Vec<(String, u16)> {
    let listeners = workers.iter().flat_map(|worker| &worker.listeners);
    let sockets = listeners.filter_map(|bound| {
        let (_, port) = bound.address.rsplit_once(':')?;
        Some((bound.listener.clone(), port.parse().ok()?))
    });
    sockets.collect()
}

fn unexplained(why: &Unexplained) -> Status {
    match why {
        Unexplained::Field { field, problem } => {
            error::invalid(&[error::Violation::new(field, problem)])
        }
        Unexplained::NoListener | Unexplained::OtherPorts { .. } => {
            error::missing("listener", "", why.to_string())
        }
    }
}

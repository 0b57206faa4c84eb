//! StatusService: statuses out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_compiler::ObjectKey;
use tidegate_proto::statuses::v1::status_service_server::StatusService;
use tidegate_proto::statuses::v1::{
    BoundPort, ListStatusesRequest, ListStatusesResponse, ObjectStatus, WatchStatusesRequest,
    WatchStatusesResponse,
};
use tidegate_runtime::tasks::Tasks;
use tidegate_store::Store;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::Answers;
use crate::clock;
use crate::cluster::Leader;
use crate::fleet::Fleet;
use crate::statuses::{Board, Entries, Entry, Statuses};
use crate::wire;

/// Statuses of one message of a watch, at most.
const MESSAGE_LEN_MAX: usize = 1_000;

/// Answers that may wait for a reader.
const QUEUE_LEN_MAX: usize = 4;

/// Longest time between two rounds of a watch.
const ROUND_INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// Answers StatusService.
#[derive(Debug, Clone)]
pub(crate) struct StatusReader {
    pub(crate) store: Store,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) fleet: Fleet,
    pub(crate) tasks: Tasks,
    /// Ends every stream, so that the server can stop.
    pub(crate) end: CancellationToken,
}

#[tonic::async_trait]
impl StatusService for StatusReader {
    type WatchStatusesStream = Answers<WatchStatusesResponse>;

    async fn list_statuses(
        &self,
        request: Request<ListStatusesRequest>,
    ) -> Result<Response<ListStatusesResponse>, Status> {
        let caller = super::caller(&request)?;
        let mut request = request.into_inner();
        request.source = super::source(&caller, &request.source)?;
        let asked = |key: &ObjectKey| {
            let same = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
            same(&request.source, key.source())
                && same(&request.kind, key.kind())
                && same(&request.namespace, key.namespace())
                && same(&request.name, key.name())
        };
        let board = self.statuses.watch().borrow().clone();
        let statuses = board
            .statuses
            .values()
            .filter(|entry| asked(&entry.status.key));
        let now = clock::unix_s();
        let statuses = statuses.map(|entry| status(entry, &self.fleet, now));
        let statuses = statuses.collect();
        let diagnostics = board
            .diagnostics
            .iter()
            .filter(|diagnostic| asked(&diagnostic.key));
        let diagnostics = diagnostics.map(wire::diagnostic).collect();
        Ok(Response::new(ListStatusesResponse {
            statuses,
            diagnostics,
            revision: board.revision,
        }))
    }

    async fn watch_statuses(
        &self,
        request: Request<WatchStatusesRequest>,
    ) -> Result<Response<Self::WatchStatusesStream>, Status> {
        let (outbox, answers) = mpsc::channel(QUEUE_LEN_MAX);
        let source = super::source(&super::caller(&request)?, &request.get_ref().source)?;
        let watch = follow(self.clone(), source, outbox);
        let deposed = Leader::until_deposed(self.store.clone());
        let end = self.end.clone();
        self.tasks.spawn("status watch", async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = deposed => {}
                _ = watch => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

type Outbox = mpsc::Sender<Result<WatchStatusesResponse, Status>>;

/// Sends what is new since the last round, until the reader goes (then `None`).
async fn follow(reader: StatusReader, source: String, outbox: Outbox) -> Option<()> {
    let mut boards = reader.statuses.watch();
    let mut fleet = reader.fleet.watch();
    let mut sent = Sent::default();
    let mut synced = false;
    loop {
        fleet.mark_unchanged();
        let board = boards.borrow_and_update().clone();
        let now = clock::unix_s();
        for message in round(&board, &reader.fleet, now, &source, &mut sent) {
            outbox.send(Ok(message)).await.ok()?;
        }
        if !synced {
            let done = WatchStatusesResponse {
                synced: true,
                ..WatchStatusesResponse::default()
            };
            outbox.send(Ok(done)).await.ok()?;
            synced = true;
        }
        tokio::select! {
            () = outbox.closed() => return None,
            changed = boards.changed() => changed.ok()?,
            changed = fleet.changed() => changed.ok()?,
            () = tokio::time::sleep(until(board.next_turn(now), now)) => {}
        }
    }
}

/// Time until a status turns by itself. Clocks are set now and then, so it is never trusted for long.
fn until(turn: Option<i64>, now: i64) -> Duration {
    let wait = turn.and_then(|turn| u64::try_from(turn - now).ok());
    wait.map_or(ROUND_INTERVAL_MAX, Duration::from_secs)
        .min(ROUND_INTERVAL_MAX)
}

/// What a reader knows.
#[derive(Default)]
struct Sent {
    entries: Entries,
    /// What was said where it is not the compiler's word alone.
    living: BTreeMap<ObjectKey, ObjectStatus>,
}

fn round(
    board: &Board,
    fleet: &Fleet,
    now: i64,
    source: &str,
    sent: &mut Sent,
) -> Vec<WatchStatusesResponse> {
    let is_asked = |key: &ObjectKey| source.is_empty() || **key.source() == *source;
    let (mut changed, mut gone) = (BTreeMap::new(), vec![]);
    for (key, before, entry) in board.statuses.since(&sent.entries) {
        let before = before.filter(|before| !before.is_living());
        match entry {
            _ if !is_asked(key) => {}
            Some(entry) if entry.is_living() => {}
            Some(entry) if before.is_some_and(|before| before.status == entry.status) => {}
            Some(entry) => drop(changed.insert(key, status(entry, fleet, now))),
            None => gone.push(key.into()),
        }
    }
    let is_living = |key: &ObjectKey| board.get(key).is_some_and(Entry::is_living);
    sent.living.retain(|key, _| is_living(key));
    let living = board.statuses.iter();
    for (key, entry) in living.filter(|(key, entry)| entry.is_living() && is_asked(key)) {
        let status = status(entry, fleet, now);
        if sent.living.get(key) != Some(&status) {
            sent.living.insert(key.clone(), status.clone());
            changed.insert(key, status);
        }
    }
    let changed: Vec<_> = changed.into_values().collect();
    sent.entries = board.statuses.clone();
    let changed = changed
        .chunks(MESSAGE_LEN_MAX)
        .map(|statuses| WatchStatusesResponse {
            statuses: statuses.to_vec(),
            ..Default::default()
        });
    let gone = gone
        .chunks(MESSAGE_LEN_MAX)
        .map(|keys| WatchStatusesResponse {
            removed: keys.to_vec(),
            ..Default::default()
        });
    changed.chain(gone).collect()
}

fn status(entry: &Entry, fleet: &Fleet, now: i64) -> ObjectStatus {
    let own = &entry.status;
    let is_gateway = **own.key.kind() == *"Gateway";
    let pool = own.pool.as_ref().filter(|_| is_gateway);
    let ports = own.ports.iter().map(|bound| BoundPort {
        port: bound.port.into(),
        is_udp: bound.is_udp,
        bind_port: bound.bind_port.into(),
    });
    ObjectStatus {
        key: Some((&own.key).into()),
        uid: own.uid.clone(),
        generation: own.generation,
        status: entry.joined(fleet, now).to_string().into(),
        pool: pool.map(ToString::to_string).unwrap_or_default(),
        ports: ports.collect(),
        parameters: own.parameters.as_deref().unwrap_or_default().to_owned(),
    }
}

//! The life of one worker's subscription, and of one watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::snapshots::v1::{
    Hello, ReportTraffic, SubscribeRequest, SubscribeResponse, WatchSnapshotsResponse, Worker,
    subscribe_request, subscribe_response,
};
use tidegate_store::{Marks, Store};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};
use tracing::{info, warn};

use crate::access::Refusal;
use crate::audit::{AuditLog, Event};
use crate::caller::Caller;
use crate::clock::unix_ms;
use crate::feed::{Bulk, Session, Shared, WholeSnapshots};
use crate::fleet::{Fleet, Presence};
use crate::sealing::Sealing;
use crate::wire;

/// An idle worker hears from us this often.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);

/// A worker that says nothing after it connected is let go.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A worker says this often what it has answered, while a rollout looks at that.
const REPORT_MS: u32 = 1_000;

/// One worker's stream, before it has said who it is.
pub(crate) struct Subscription {
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) bulk: Bulk,
    pub(crate) whole: WholeSnapshots,
    pub(crate) sealing: Sealing,
    pub(crate) audit: AuditLog,
    pub(crate) caller: Caller,
    /// Whether this replica is in touch with its cluster.
    pub(crate) in_touch: watch::Receiver<bool>,
    pub(crate) requests: Streaming<SubscribeRequest>,
    pub(crate) outbox: mpsc::Sender<Result<SubscribeResponse, Status>>,
}

impl Subscription {
    /// Serves the worker until either side ends the stream.
    pub(crate) async fn run(mut self) {
        let hello = match tokio::time::timeout(HELLO_TIMEOUT, self.hello()).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(refusal)) => return self.refuse(refusal).await,
            Err(_) => {
                return self
                    .refuse(Status::deadline_exceeded("no hello within 10 s"))
                    .await;
            }
        };
        let name = format!("{}/{}", hello.pool, hello.worker);
        info!(worker = name, "Worker connected.");
        match self.serve(hello).await {
            Ok(()) => info!(worker = name, "Worker disconnected."),
            Err(refusal) => {
                warn!(
                    worker = name,
                    cause = refusal.message(),
                    "Worker's stream ended."
                );
                self.refuse(refusal).await;
            }
        }
    }

    async fn hello(&mut self) -> Result<Hello, Status> {
        let first = self
            .requests
            .message()
            .await?
            .and_then(|request| request.message);
        match first {
            Some(subscribe_request::Message::Hello(hello))
                if !hello.pool.is_empty() && (1..=253).contains(&hello.worker.len()) =>
            {
                let follows = self.caller.follow(&hello.pool, &hello.worker);
                follows.map_err(|refusal| self.refused(&refusal))?;
                Ok(hello)
            }
            _ => Err(Status::invalid_argument(
                "the first message must be a hello with a pool and a worker name of 1 to 253 bytes",
            )),
        }
    }

    fn refused(&self, refusal: &Refusal) -> Status {
        let status = crate::error::refused(refusal);
        let event = Event::new(&self.caller, super::SUBSCRIBE);
        self.audit.refused(event.ended(Err(&status)));
        status
    }

    async fn serve(&mut self, hello: Hello) -> Result<(), Status> {
        let pool: Arc<str> = hello.pool.as_str().into();
        let shared = Shared {
            store: self.store.clone(),
            fleet: self.fleet.clone(),
            openers: self.sealing.openers_for(&self.caller),
            bulk: self.bulk.clone(),
            whole: self.whole.clone(),
        };
        let names = (pool, hello.worker.as_str().into());
        let (mut session, resync) = Session::start(shared, names, hello.have.as_ref());
        let mut reports_every_ms = 0;
        let watched = hello.pool.clone();
        let serving = if resync.is_none() { hello.have } else { None };
        let presence = self.fleet.join(Worker {
            pool: hello.pool,
            name: hello.worker,
            serving,
            connected_at_unix_ms: unix_ms(),
            ..Worker::default()
        });
        if let Some(resync) = resync
            && self.outbox.send(Ok(resync)).await.is_err()
        {
            return Ok(());
        }
        let mut heads = self.store.watch_heads();
        let mut marks = self.store.watch_marks();
        let mut in_touch = self.in_touch.clone();
        let mut idle = tokio::time::interval(BOOKMARK_INTERVAL);
        idle.tick().await;
        loop {
            heads.mark_unchanged();
            marks.mark_unchanged();
            let sent = session.send_newest(&self.outbox).await;
            sent.map_err(|error| Status::internal(crate::error::chain(&error)))?;
            let wanted_every_ms = reports(&self.store.marks(&watched));
            if wanted_every_ms != reports_every_ms {
                reports_every_ms = wanted_every_ms;
                if self.outbox.send(Ok(report(wanted_every_ms))).await.is_err() {
                    return Ok(());
                }
            }
            tokio::select! {
                request = self.requests.message() => match request? {
                    Some(request) => answer(&mut session, &presence, request)?,
                    None => return Ok(()),
                },
                changed = heads.changed() => if changed.is_err() { return Ok(()) },
                changed = marks.changed() => if changed.is_err() { return Ok(()) },
                _ = lost_touch(&mut in_touch) => {
                    let text = "this configd is out of touch with its cluster; follow another one";
                    return Err(Status::unavailable(text));
                }
                _ = idle.tick() => {
                    if self.outbox.send(Ok(session.bookmark())).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn refuse(&self, refusal: Status) {
        // A worker that has gone does not need to hear why.
        let _ = self.outbox.send(Err(refusal)).await;
    }
}

/// How often a worker is to say what it answers.
fn reports(marks: &Marks) -> u32 {
    let steps = marks
        .rollout
        .iter()
        .flat_map(|rollout| &rollout.steps.steps);
    let mut gates = steps.map(|step| step.gates.max_5xx_delta_permille);
    if gates.any(|gate| gate.is_some()) {
        REPORT_MS
    } else {
        0
    }
}

fn report(every_ms: u32) -> SubscribeResponse {
    let report = ReportTraffic { every_ms };
    SubscribeResponse {
        message: Some(subscribe_response::Message::ReportTraffic(report)),
    }
}

async fn lost_touch(in_touch: &mut watch::Receiver<bool>) {
    if in_touch.wait_for(|in_touch| !*in_touch).await.is_err() {
        // Nobody looks any more.
        std::future::pending().await
    }
}

fn answer(
    session: &mut Session,
    presence: &Presence,
    request: SubscribeRequest,
) -> Result<(), Status> {
    let wrong = |error| Status::failed_precondition(crate::error::chain(&error));
    match request.message {
        Some(subscribe_request::Message::Ack(ack)) => {
            session.answered(ack.id.as_ref(), true).map_err(wrong)?;
            presence.ack(ack);
        }
        Some(subscribe_request::Message::Nack(nack)) => {
            session.answered(nack.id.as_ref(), false).map_err(wrong)?;
            for problem in nack.problems.iter().take(3) {
                warn!(problem = problem.message, "Worker refused a snapshot.");
            }
            presence.nack(nack);
        }
        Some(subscribe_request::Message::Traffic(traffic)) => presence.answered(traffic),
        Some(subscribe_request::Message::Hello(_)) | None => {
            return Err(Status::invalid_argument(
                "after hello come ack, nack and traffic only",
            ));
        }
    }
    Ok(())
}

/// Sends the newest version of each pool (or of `pool`), then each newer one that is seen.
pub(crate) async fn watch_heads(
    store: Store,
    pool: String,
    outbox: mpsc::Sender<Result<WatchSnapshotsResponse, Status>>,
) {
    let mut heads = store.watch_heads();
    let mut sent: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    loop {
        heads.mark_unchanged();
        for head in crate::pools::heads(&store) {
            let seen = sent
                .get(&head.pool)
                .copied()
                .unwrap_or_else(|| head.version.saturating_sub(1));
            if !pool.is_empty() && *head.pool != *pool {
                continue;
            }
            for version in seen + 1..=head.version {
                let Some(meta) = store.meta(&head.pool, version) else {
                    continue;
                };
                let answer = WatchSnapshotsResponse {
                    info: Some(wire::snapshot_info(&meta)),
                };
                if outbox.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
            sent.insert(head.pool.clone(), head.version);
        }
        tokio::select! {
            () = outbox.closed() => return,
            changed = heads.changed() => if changed.is_err() { return },
        }
    }
}

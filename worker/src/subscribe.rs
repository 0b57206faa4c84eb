//! The subscription to configd: snapshots in, acks and nacks out, for ever.

mod reports;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_proto::ir::v1 as ir;
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::subscribe_request::Message as Say;
use tidegate_proto::snapshots::v1::subscribe_response::Message as Hear;
use tidegate_proto::snapshots::v1::{
    Ack, BoundListener, Hello, Nack, Problem, SnapshotId, SubscribeRequest, SubscribeResponse,
    Update,
};
use tidegate_runtime::backoff::{Backoff, SplitMix64};
use tidegate_runtime::error::chain;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::apply::{Applier, InUse};
use crate::configds::Configds;
use crate::limits::Limits;
use crate::update::{self, PartProblem, Pieces, Refusal};

use reports::Reports;

/// Answers that wait to be sent; there is one per update, and one update at a time.
const ANSWERS_MAX: usize = 8;

/// configd says something every 10 s; after this long without a word the connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(35);

/// The longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Who subscribes, and to what.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) configds: Configds,
    pub(crate) pool: Arc<str>,
    pub(crate) worker: Arc<str>,
    pub(crate) limits: Arc<Limits>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("configd refuses or cannot be reached")]
    Status(#[source] Box<tonic::Status>),
    #[error("configd closed the stream")]
    Closed,
    #[error("configd has said nothing for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("configd sent an update that cannot be read")]
    Pieces(#[source] update::PiecesError),
    #[error("{0}")]
    OtherBase(Refusal),
}

impl Subscription {
    /// Follows the pool until the future is dropped.
    pub(crate) async fn run(&self, applier: &mut Applier) {
        let random = SplitMix64::from_process();
        let mut backoff = Backoff::new(Duration::from_millis(100), BACKOFF_MAX, random);
        loop {
            let started = Instant::now();
            let Err(error) = self.session(applier).await;
            if started.elapsed() > BACKOFF_MAX {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            let cause = std::error::Error::source(&error).map(chain);
            tracing::info!(%error, cause, ?delay, "the subscription to configd ended");
            tokio::time::sleep(delay).await;
        }
    }

    async fn session(
        &self,
        applier: &mut Applier,
    ) -> Result<std::convert::Infallible, SessionError> {
        let status = |status| SessionError::Status(Box::new(status));
        let (answers, to_send) = mpsc::channel(ANSWERS_MAX);
        say(&answers, Say::Hello(self.hello(applier))).await?;
        let mut client = SnapshotServiceClient::new(self.configds.take_next());
        let stream = client
            .subscribe(ReceiverStream::new(to_send))
            .await
            .map_err(status)?;
        let mut stream = stream.into_inner();
        let mut pieces = Pieces::default();
        let mut reports = Reports::new(applier.metrics.clone(), answers.clone());
        loop {
            let heard =
                tokio::time::timeout(SILENCE_MAX, reports.meanwhile(stream.message())).await;
            let heard = heard.map_err(|_| SessionError::Silent)?.map_err(status)?;
            let Some(SubscribeResponse { message }) = heard else {
                return Err(SessionError::Closed);
            };
            match message {
                Some(Hear::Update(piece)) => {
                    let id = update::id_of(&piece);
                    match pieces.add(piece, &self.limits) {
                        Ok(Some(update)) => take(update, applier, &answers).await?,
                        Ok(None) => {}
                        Err(error) => {
                            say(&answers, Say::Nack(nack(id, &error.to_string()))).await?;
                            return Err(SessionError::Pieces(error));
                        }
                    }
                }
                Some(Hear::Resync(resync)) => {
                    let reason = resync.reason().as_str_name();
                    tracing::info!(reason, "configd sends a whole snapshot");
                }
                Some(Hear::ReportTraffic(report)) => reports.every(report.every_ms),
                Some(Hear::Bookmark(_)) | None => {}
            }
        }
    }

    fn hello(&self, applier: &Applier) -> Hello {
        Hello {
            pool: self.pool.to_string(),
            worker: self.worker.to_string(),
            have: applier.in_use().map(|used| used.id),
        }
    }
}

/// Applies an update and answers it.
async fn take(
    update: Update,
    applier: &mut Applier,
    answers: &mpsc::Sender<SubscribeRequest>,
) -> Result<(), SessionError> {
    let started = Instant::now();
    let id = update::id_of(&update);
    let outcome = match applier.in_use() {
        // Sent again after a reconnect that lost our ack.
        Some(used) if used.id == id => Ok(used),
        used => {
            let current = used.as_ref().map(|used| (&used.id, &used.serving.snapshot));
            match update::snapshot(update, current) {
                Ok(snapshot) => applier.apply(snapshot, id.clone()).await,
                Err(refusal) => Err(refusal),
            }
        }
    };
    match outcome {
        Ok(used) => {
            let apply_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            let parts = used.serving.snapshot.len();
            tracing::info!(version = id.version, apply_us, parts, "serving a snapshot");
            let listeners = bound(&used);
            say(
                answers,
                Say::Ack(Ack {
                    id: Some(id),
                    apply_us,
                    listeners,
                }),
            )
            .await
        }
        Err(refusal) => {
            tracing::warn!(version = id.version, %refusal, "refusing a snapshot");
            let problems = problems(&refusal);
            say(
                answers,
                Say::Nack(Nack {
                    id: Some(id),
                    problems,
                }),
            )
            .await?;
            match refusal {
                Refusal::OtherBase { .. } => Err(SessionError::OtherBase(refusal)),
                Refusal::NotNewer { .. } | Refusal::Problems(_) => Ok(()),
            }
        }
    }
}

async fn say(answers: &mpsc::Sender<SubscribeRequest>, message: Say) -> Result<(), SessionError> {
    let request = SubscribeRequest {
        message: Some(message),
    };
    answers
        .send(request)
        .await
        .map_err(|_| SessionError::Closed)
}

fn bound(used: &InUse) -> Vec<BoundListener> {
    let listeners = used.listeners.iter();
    let wire = |bound: &crate::apply::BoundListener| BoundListener {
        listener: bound.listener.to_string(),
        address: bound.address.to_string(),
    };
    listeners.map(wire).collect()
}

fn problems(refusal: &Refusal) -> Vec<Problem> {
    match refusal {
        Refusal::Problems(problems) => problems.iter().take(100).map(wire_problem).collect(),
        other => vec![wire_problem(&PartProblem::of_whole(other.to_string()))],
    }
}

fn nack(id: SnapshotId, message: &str) -> Nack {
    Nack {
        id: Some(id),
        problems: vec![wire_problem(&PartProblem::of_whole(message))],
    }
}

fn wire_problem(problem: &PartProblem) -> Problem {
    Problem {
        part: problem.part.as_ref().map(|part| ir::PartKey {
            kind: part.kind.number(),
            name: part.name.to_string(),
        }),
        message: problem.message.clone(),
    }
}

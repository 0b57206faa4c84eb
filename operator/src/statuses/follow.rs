//! Follows what configd says about the objects of this source.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidegate_proto::statuses::v1::{
    ListStatusesRequest, ObjectStatus, WatchStatusesRequest, WatchStatusesResponse,
};
use tidegate_runtime::backoff::{Backoff, SplitMix64};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tracing::{debug, info};

use super::{Board, Served, Wanted, merge};
use crate::cluster::Mirror;
use crate::configd::Configds;
use crate::error::chain;
use crate::key::ObjectKey;
use crate::lease::Leadership;

/// How long a status must be gone before ours is taken out of the object. A configd that begins to lead knows
/// nothing for a moment.
const GONE_AFTER: Duration = Duration::from_secs(3);

/// The first and the longest pause between two streams.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// What follows.
pub(crate) struct Follower {
    pub(crate) configds: Configds,
    pub(crate) source: String,
    pub(crate) controller: String,
    pub(crate) board: Board,
    pub(crate) mirror: Mirror,
    pub(crate) leadership: Leadership,
    /// The revision of the last write to configd.
    pub(crate) revision: watch::Receiver<u64>,
}

/// One stream.
struct Stream<'f> {
    follower: &'f Follower,
    /// What this stream has brought.
    seen: BTreeSet<ObjectKey>,
    /// What has no status any more, if that stays so.
    gone: BTreeSet<ObjectKey>,
    judge_at: Option<Instant>,
}

impl Follower {
    /// Follows while this process leads, until it is dropped.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(BACKOFF[0], BACKOFF[1], SplitMix64::from_process());
        loop {
            self.leadership.held().await;
            let began = Instant::now();
            let status = tokio::select! {
                ended = self.stream() => match ended {
                    Err(status) => status,
                    Ok(never) => match never {},
                },
                () = self.leadership.lost() => continue,
            };
            if began.elapsed() > BACKOFF[1] {
                backoff.reset();
            }
            let (delay, cause) = (backoff.next_delay(), chain(&status));
            info!(
                cause,
                ?delay,
                "The stream of statuses ended; another one begins."
            );
            self.configds.advance();
            tokio::time::sleep(delay).await;
        }
    }

    async fn stream(&self) -> Result<Infallible, Status> {
        let request = WatchStatusesRequest {
            source: self.source.clone(),
        };
        let mut client = self.configds.current().statuses;
        let mut answers = client.watch_statuses(request).await?.into_inner();
        let mut stream = Stream {
            follower: self,
            seen: BTreeSet::new(),
            gone: BTreeSet::new(),
            judge_at: None,
        };
        loop {
            let judge_at = stream.judge_at;
            tokio::select! {
                answer = answers.message() => match answer? {
                    Some(answer) => stream.take(answer),
                    None => return Err(Status::unavailable("configd has ended the stream")),
                },
                () = tokio::time::sleep_until(judge_at.unwrap_or_else(Instant::now)), if judge_at.is_some() => {
                    stream.judge().await?;
                }
            }
        }
    }

    /// The object set that configd's statuses are about.
    async fn board_revision(&self) -> Result<u64, Status> {
        let request = ListStatusesRequest {
            source: self.source.clone(),
            kind: "GatewayClass".to_owned(),
            ..ListStatusesRequest::default()
        };
        let mut client = self.configds.current().statuses;
        Ok(client.list_statuses(request).await?.into_inner().revision)
    }

    /// Objects with entries of ours in their statuses, from before this process began.
    fn with_entries(&self) -> impl Iterator<Item = ObjectKey> {
        let all = self.mirror.objects.all().into_iter();
        let controller = self.controller.clone();
        let ours = all
            .filter(move |(_, observed)| merge::withdraw(observed.status(), &controller).is_some());
        ours.map(|(key, _)| key)
    }
}

impl Stream<'_> {
    fn take(&mut self, answer: WatchStatusesResponse) {
        for status in answer.statuses {
            self.note(status);
        }
        for key in &answer.removed {
            self.gone.insert(key.into());
        }
        if answer.synced {
            let known = self.follower.board.all().into_iter().map(|(key, _)| key);
            let known: BTreeSet<_> = known.chain(self.follower.with_entries()).collect();
            self.gone.extend(known.difference(&self.seen).cloned());
        }
        if !self.gone.is_empty() {
            self.judge_at
                .get_or_insert_with(|| Instant::now() + GONE_AFTER);
        }
    }

    fn note(&mut self, status: ObjectStatus) {
        let Some(key) = &status.key else { return };
        let key = ObjectKey::from(key);
        let Ok(fields) = serde_json::from_slice::<Value>(&status.status) else {
            debug!(object = %key, "configd sent a status that is not JSON.");
            return;
        };
        self.gone.remove(&key);
        let wanted = Wanted::Status {
            uid: status.uid,
            generation: status.generation,
            status: fields,
            served: Served {
                pool: status.pool,
                ports: status.ports,
                parameters: status.parameters,
            },
        };
        let board = &self.follower.board;
        if board.get(&key).as_deref() != Some(&wanted) {
            board.set(&key, Some(Arc::new(wanted)));
        }
        self.seen.insert(key);
    }

    /// What is still gone after some time, by a configd that knows the objects, is gone.
    async fn judge(&mut self) -> Result<(), Status> {
        let newest = *self.follower.revision.borrow();
        if newest == 0 || self.follower.board_revision().await? < newest {
            self.judge_at = Some(Instant::now() + GONE_AFTER);
            return Ok(());
        }
        self.judge_at = None;
        for key in std::mem::take(&mut self.gone) {
            self.seen.remove(&key);
            let board = &self.follower.board;
            board.set(&key, Some(Arc::new(Wanted::Nothing)));
        }
        Ok(())
    }
}

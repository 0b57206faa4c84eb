//! Takes a full set in: piece by piece beside the objects, and at its end in their place.

use std::time::Duration;

use tidegate_proto::objects::v1::{ApplyMode, ResyncRequest, ResyncResponse};
use tidegate_proto::raft::v1::change_source::Change;
use tidegate_proto::raft::v1::session_write::Write;
use tidegate_proto::raft::v1::{ChangeSource, CommitStage};
use tidegate_store::{Command, Outcome};
use tonic::{Request, Status, Streaming};

use super::super::history::catch_up;
use super::super::recorder::Recorder;
use super::{in_session, stamp};
use crate::access::oversize;
use crate::audit::Event;
use crate::caller::Caller;
use crate::progress::{self, Progress};
use crate::sealing::Sealing;
use crate::{clock, error};
use incoming::{Header, Incoming};

mod incoming;

/// The path of the method, for the audit log.
const METHOD: &str = "/tidegate.objects.v1.ObjectService/Resync";

/// Time for the next piece of a set.
const PIECE_DEADLINE: Duration = Duration::from_secs(60);

/// Time for a whole set.
const SET_DEADLINE: Duration = Duration::from_secs(900);

/// A full set that is stored.
struct Resynced {
    revision: u64,
    answer: ResyncResponse,
}

/// Makes the objects of a source equal to the streamed set.
pub(super) async fn carry_out(
    (recorder, progress, sealing): (&Recorder, &Progress, &Sealing),
    caller: &Caller,
    request: Request<Streaming<ResyncRequest>>,
) -> Result<ResyncResponse, Status> {
    catch_up(&recorder.store).await?;
    let mut set = Incoming::default();
    let received = receive((recorder, sealing), caller, request.into_inner(), &mut set);
    let received = tokio::time::timeout(SET_DEADLINE, received).await;
    let received = received.unwrap_or_else(|_| Err(late("the set did not end")));
    let event = Event::new(caller, METHOD)
        .asked(&set.header.source, "", &set.header.reason)
        .changing(set.changes(&recorder.store, received.is_ok()).into_iter());
    if let Err(status) = received {
        drop_stage(recorder, &set).await;
        return Err(recorder.refused(event, status));
    }
    let (wait_for, timeout) = (set.header.wait_for, set.header.wait_timeout);
    let stored = store(recorder, event, set).await?;
    let (reached, pending) = match stored.revision {
        0 => Default::default(),
        revision => progress.come_far(revision, wait_for, timeout).await,
    };
    Ok(ResyncResponse {
        reached: reached.into(),
        pending,
        ..stored.answer
    })
}

/// Takes pieces until the stream ends, and puts them aside where they are too many for one entry.
async fn receive(
    (recorder, sealing): (&Recorder, &Sealing),
    caller: &Caller,
    mut stream: Streaming<ResyncRequest>,
    set: &mut Incoming,
) -> Result<(), Status> {
    let mut first = true;
    while let Some(mut request) = next(&mut stream).await? {
        stamp::set(&mut request, caller).map_err(|refusal| error::refused(&refusal))?;
        if std::mem::take(&mut first) {
            set.header = Header::of(&request)?;
        }
        set.take_end(&request)?;
        for mut object in set.check(request)? {
            // Sealing is deterministic, so what did not change still equals what is stored.
            sealing.seal_object(&mut object);
            if set.is_full() {
                set.refuse_dry_run()?;
                let staged = recorder.propose(set.take_piece()).await?;
                set.staged(staged)?;
            }
            set.add(&recorder.store, object);
        }
    }
    set.whole()
}

async fn next(stream: &mut Streaming<ResyncRequest>) -> Result<Option<ResyncRequest>, Status> {
    let next = tokio::time::timeout(PIECE_DEADLINE, stream.message()).await;
    match next {
        Err(_) => Err(late("no piece of the set came")),
        Ok(Err(status)) => Err(oversize::of(&status).unwrap_or(status)),
        Ok(message) => message,
    }
}

fn late(what: &str) -> Status {
    Status::deadline_exceeded(format!(
        "{what} in time; nothing was changed, send it again"
    ))
}

async fn store(recorder: &Recorder, event: Event, set: Incoming) -> Result<Resynced, Status> {
    let (header, commit) = set.into_commit();
    if header.mode == ApplyMode::DryRun {
        let tried = resynced(recorder.store.preview_set(&commit))?;
        // Nothing is there to wait for.
        return Ok(Resynced {
            revision: 0,
            ..tried
        });
    }
    if header.session == 0 && is_stored(recorder, &commit) {
        return resynced(recorder.store.preview_set(&commit));
    }
    let command = match header.session {
        0 => Command::CommitStage(commit),
        session => in_session(session, header.sequence, Write::CommitStage(commit)),
    };
    let read = |outcome| resynced(outcome).map(|stored| (stored.revision, stored));
    recorder.write(event, command, read).await
}

/// Whether a set that came whole is what is stored, so that it needs no entry.
fn is_stored(recorder: &Recorder, commit: &CommitStage) -> bool {
    let source = recorder.store.source(&commit.source);
    let settled = source.held.is_none() && !source.resync_due;
    commit.stage == 0
        && settled
        && matches!(
            recorder.store.preview_set(commit),
            Outcome::Resynced {
                put: 0,
                deleted: 0,
                held: 0,
                ..
            }
        )
}

fn resynced(outcome: Outcome) -> Result<Resynced, Status> {
    match outcome {
        Outcome::Resynced {
            revision,
            put,
            deleted,
            held,
        } => Ok(Resynced {
            revision,
            answer: ResyncResponse {
                revision,
                put,
                deleted,
                held,
                ..ResyncResponse::default()
            },
        }),
        Outcome::Replayed { first } => {
            let mut first = resynced(*first)?;
            first.answer.replayed = true;
            Ok(first)
        }
        other => Err(error::not_stored(other)),
    }
}

/// Gives back what a set that broke off has taken. Where that fails, the source's next set does it.
async fn drop_stage(recorder: &Recorder, set: &Incoming) {
    if set.stage == 0 {
        return;
    }
    let drop = Command::ChangeSource(ChangeSource {
        source: set.header.source.clone(),
        at_unix_ms: clock::unix_ms(),
        change: Some(Change::DropStage(set.stage)),
    });
    if let Err(status) = recorder.propose(drop).await {
        tracing::debug!(message = status.message(), "a stage stays until it is old");
    }
}

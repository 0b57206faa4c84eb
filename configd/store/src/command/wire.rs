//! Outcomes as they travel and as images keep them, and back.

use bytes::Bytes;
use tidegate_ir::Digest;
use tidegate_proto::raft::v1::{
    self, command_outcome::Outcome as Said, source_refusal::Reason as Why,
};

use super::Outcome;
use crate::source::{Quota, SourceRefusal};

pub(crate) fn outcome_wire(outcome: &Outcome) -> v1::CommandOutcome {
    let said = match outcome {
        Outcome::None => None,
        Outcome::Applied { revision, changed } => Some(Said::Applied(v1::AppliedOutcome {
            revision: *revision,
            changed: *changed,
        })),
        Outcome::PreconditionFailed { index, key, found } => {
            Some(Said::PreconditionFailed(v1::PreconditionOutcome {
                index: *index,
                key: Some(key.clone().into()),
                found: *found,
            }))
        }
        Outcome::Committed { version } => Some(Said::Committed(*version)),
        Outcome::ParentMismatch { head } => Some(Said::ParentMismatch(*head)),
        Outcome::MissingBlobs { digests } => {
            let bytes = |digest: &Digest| Bytes::copy_from_slice(digest.as_bytes());
            let digests = digests.iter().map(bytes).collect();
            Some(Said::MissingBlobs(v1::DigestList { digests }))
        }
        Outcome::Staged { stored } => Some(Said::Staged(*stored)),
        Outcome::Refused { reason } => Some(Said::Refused(reason.clone())),
        Outcome::Frozen => Some(Said::Frozen(true)),
        Outcome::PoolChanged { head } => Some(Said::PoolChanged(*head)),
        Outcome::BaseMoved { revision } => Some(Said::BaseMoved(*revision)),
        Outcome::SessionOpened {
            session,
            resync_due,
        } => Some(Said::SessionOpened(v1::SessionOutcome {
            session: *session,
            resync_due: *resync_due,
        })),
        Outcome::Replayed { first } => Some(Said::Replayed(Box::new(outcome_wire(first)))),
        Outcome::ObjectsStaged { stage, objects } => Some(Said::ObjectsStaged(v1::StageOutcome {
            stage: *stage,
            objects: *objects,
        })),
        Outcome::Resynced {
            revision,
            put,
            deleted,
            held,
        } => Some(Said::Resynced(v1::ResyncOutcome {
            revision: *revision,
            put: *put,
            deleted: *deleted,
            held: *held,
        })),
        Outcome::SourceChanged => Some(Said::SourceChanged(true)),
        Outcome::SourceRefused(refusal) => Some(Said::SourceRefused(refusal_wire(refusal))),
        Outcome::Level(level) => Some(Said::Level(*level)),
    };
    v1::CommandOutcome { outcome: said }
}

pub(crate) fn outcome(wire: v1::CommandOutcome) -> Result<Outcome, String> {
    Ok(match wire.outcome {
        None => Outcome::None,
        Some(Said::Applied(applied)) => Outcome::Applied {
            revision: applied.revision,
            changed: applied.changed,
        },
        Some(Said::PreconditionFailed(failed)) => Outcome::PreconditionFailed {
            index: failed.index,
            key: failed.key.unwrap_or_default().into(),
            found: failed.found,
        },
        Some(Said::Committed(version)) => Outcome::Committed { version },
        Some(Said::ParentMismatch(head)) => Outcome::ParentMismatch { head },
        Some(Said::MissingBlobs(list)) => {
            let digest = |bytes: &Bytes| Digest::try_from(bytes.as_ref());
            let digests: Result<_, _> = list.digests.iter().map(digest).collect();
            let digests = digests.map_err(|_| "a digest has another length than 32 bytes")?;
            Outcome::MissingBlobs { digests }
        }
        Some(Said::Staged(stored)) => Outcome::Staged { stored },
        Some(Said::Refused(reason)) => Outcome::Refused { reason },
        Some(Said::Frozen(_)) => Outcome::Frozen,
        Some(Said::PoolChanged(head)) => Outcome::PoolChanged { head },
        Some(Said::BaseMoved(revision)) => Outcome::BaseMoved { revision },
        Some(Said::SessionOpened(opened)) => Outcome::SessionOpened {
            session: opened.session,
            resync_due: opened.resync_due,
        },
        Some(Said::Replayed(first)) => Outcome::Replayed {
            first: Box::new(outcome(*first)?),
        },
        Some(Said::ObjectsStaged(staged)) => Outcome::ObjectsStaged {
            stage: staged.stage,
            objects: staged.objects,
        },
        Some(Said::Resynced(resynced)) => Outcome::Resynced {
            revision: resynced.revision,
            put: resynced.put,
            deleted: resynced.deleted,
            held: resynced.held,
        },
        Some(Said::SourceChanged(_)) => Outcome::SourceChanged,
        Some(Said::SourceRefused(refusal)) => Outcome::SourceRefused(read_refusal(refusal)?),
        Some(Said::Level(level)) => Outcome::Level(level),
    })
}

fn refusal_wire(refusal: &SourceRefusal) -> v1::SourceRefusal {
    let why = match refusal {
        SourceRefusal::Fenced { newest } => Why::Fenced(*newest),
        SourceRefusal::UnknownSession { newest } => Why::UnknownSession(*newest),
        SourceRefusal::SequenceGap { expected } => Why::SequenceGap(*expected),
        SourceRefusal::Forgotten { oldest } => Why::Forgotten(*oldest),
        SourceRefusal::ResyncDue => Why::ResyncDue(true),
        SourceRefusal::StageLost => Why::StageLost(true),
        SourceRefusal::SetMoved { key } => Why::SetMoved(key.clone().into()),
        SourceRefusal::Incomplete { found } => Why::Incomplete(*found),
        SourceRefusal::StageFull(quota) => Why::StageFull(quota_wire(quota)),
        SourceRefusal::OverQuota(quota) => Why::OverQuota(quota_wire(quota)),
        SourceRefusal::NotHeld { id } => Why::NotHeld(*id),
        SourceRefusal::NotSilent => Why::NotSilent(true),
    };
    v1::SourceRefusal { reason: Some(why) }
}

fn read_refusal(refusal: v1::SourceRefusal) -> Result<SourceRefusal, String> {
    Ok(match refusal.reason {
        None => return Err("a refusal is of an unknown kind".to_owned()),
        Some(Why::Fenced(newest)) => SourceRefusal::Fenced { newest },
        Some(Why::UnknownSession(newest)) => SourceRefusal::UnknownSession { newest },
        Some(Why::SequenceGap(expected)) => SourceRefusal::SequenceGap { expected },
        Some(Why::Forgotten(oldest)) => SourceRefusal::Forgotten { oldest },
        Some(Why::ResyncDue(_)) => SourceRefusal::ResyncDue,
        Some(Why::StageLost(_)) => SourceRefusal::StageLost,
        Some(Why::SetMoved(key)) => SourceRefusal::SetMoved { key: key.into() },
        Some(Why::Incomplete(found)) => SourceRefusal::Incomplete { found },
        Some(Why::StageFull(quota)) => SourceRefusal::StageFull(read_quota(&quota)),
        Some(Why::OverQuota(quota)) => SourceRefusal::OverQuota(read_quota(&quota)),
        Some(Why::NotHeld(id)) => SourceRefusal::NotHeld { id },
        Some(Why::NotSilent(_)) => SourceRefusal::NotSilent,
    })
}

fn quota_wire(quota: &Quota) -> v1::QuotaRefusal {
    v1::QuotaRefusal {
        what: quota.what.to_owned(),
        limit: quota.limit,
        found: quota.found,
    }
}

fn read_quota(quota: &v1::QuotaRefusal) -> Quota {
    let what = match quota.what.as_str() {
        "objects" => "objects",
        _ => "bytes",
    };
    Quota {
        what,
        limit: quota.limit,
        found: quota.found,
    }
}

//! What the refusals of sources mean to callers: each its own reason, and in the details what a program needs.

use std::collections::HashMap;

use tidegate_store::{Quota, SourceRefusal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::REASON_DOMAIN;

/// Code, reason, details and sentence of a refusal.
struct Words {
    code: Code,
    reason: &'static str,
    about: Vec<(&'static str, String)>,
    message: String,
}

/// The refusal as a status.
pub(crate) fn source_refused(refusal: &SourceRefusal) -> Status {
    let Words {
        code,
        reason,
        about,
        message,
    } = words(refusal);
    with_reason(code, reason, about, message)
}

/// DATA_LOSS: a full set that broke off.
pub(crate) fn cut_off(message: String) -> Status {
    with_reason(Code::DataLoss, "RESYNC_INCOMPLETE", vec![], message)
}

/// RESOURCE_EXHAUSTED: a request beyond a bound of bytes.
pub(crate) fn too_large(message: String) -> Status {
    with_reason(
        Code::ResourceExhausted,
        "REQUEST_TOO_LARGE",
        vec![],
        message,
    )
}

/// RESOURCE_EXHAUSTED: there is no room for another watch.
pub(crate) fn too_many_watches(max: usize) -> Status {
    let message = format!("{max} watches of objects run already; end one, or ask another configd");
    with_reason(Code::ResourceExhausted, "TOO_MANY_WATCHES", vec![], message)
}

/// OUT_OF_RANGE: what was deleted since a revision is not known any more.
pub(crate) fn compacted(after: u64, oldest: u64) -> Status {
    let message = format!(
        "changes after revision {after} are not all known any more, only those after {oldest}; list the objects, and \
         watch from there"
    );
    let about = vec![("oldest", oldest.to_string())];
    with_reason(Code::OutOfRange, "REVISION_COMPACTED", about, message)
}

/// OUT_OF_RANGE: nobody has such a revision.
pub(crate) fn unknown_revision(after: u64, newest: u64) -> Status {
    let message = format!(
        "revision {after} is of another cluster, or of before a restore: the newest one is {newest}; list the objects, \
         and watch from there"
    );
    let about = vec![("newest", newest.to_string())];
    with_reason(Code::OutOfRange, "REVISION_UNKNOWN", about, message)
}

fn with_reason(
    code: Code,
    reason: &str,
    about: Vec<(&'static str, String)>,
    message: String,
) -> Status {
    let about = about.into_iter();
    let about: HashMap<String, String> = about
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let details = ErrorDetails::with_error_info(reason, REASON_DOMAIN, about);
    Status::with_error_details(code, message, details)
}

fn words(refusal: &SourceRefusal) -> Words {
    match refusal {
        SourceRefusal::StageFull(quota) => over(
            "SET_TOO_LARGE",
            quota,
            format!(
                "the full set, or those of all sources together, would have {}, at most {} are taken; split the source",
                amount(quota.found, quota),
                amount(quota.limit, quota)
            ),
        ),
        SourceRefusal::OverQuota(quota) => over(
            "QUOTA_EXCEEDED",
            quota,
            format!(
                "the source would have {}, its quota is {}; delete objects, or raise the quota with `tidegate sources policy`",
                amount(quota.found, quota),
                amount(quota.limit, quota)
            ),
        ),
        SourceRefusal::StageLost | SourceRefusal::SetMoved { .. } => interrupted(refusal),
        SourceRefusal::Incomplete { found } => Words {
            code: Code::DataLoss,
            reason: "RESYNC_INCOMPLETE",
            about: vec![("found", found.to_string())],
            message: format!(
                "the full set has {found} objects, its end says another number; send it again"
            ),
        },
        SourceRefusal::NotHeld { id } => Words {
            code: Code::FailedPrecondition,
            reason: "NOT_HELD",
            about: vec![("held", id.to_string())],
            message: match id {
                0 => "no deletions of the source are held".to_owned(),
                id => {
                    format!("other deletions are held by now, with the id {id}; look at them first")
                }
            },
        },
        SourceRefusal::NotSilent => Words {
            code: Code::FailedPrecondition,
            reason: "NOT_SILENT",
            about: vec![],
            message: "the source was heard of, or is to be kept".to_owned(),
        },
        _ => of_session(refusal),
    }
}

fn interrupted(refusal: &SourceRefusal) -> Words {
    let (reason, message) = match refusal {
        SourceRefusal::SetMoved { key } => (
            "SET_MOVED",
            format!(
                "{} was changed by another writer while the full set came; send it again",
                key
            ),
        ),
        _ => (
            "STAGE_LOST",
            "another full set of the source, or a new session, took the place of this one; send it again"
                .to_owned(),
        ),
    };
    Words {
        code: Code::Aborted,
        reason,
        about: vec![],
        message,
    }
}

fn of_session(refusal: &SourceRefusal) -> Words {
    let (code, reason, about, message) = match refusal {
        SourceRefusal::Fenced { newest } => (
            Code::Aborted,
            "SESSION_FENCED",
            vec![("newest", newest.to_string())],
            format!("the session is over: {newest} is the source's newest; stop writing, or open a new one"),
        ),
        SourceRefusal::UnknownSession { newest } => (
            Code::FailedPrecondition,
            "SESSION_UNKNOWN",
            vec![("newest", newest.to_string())],
            "the source has no such session; open one, and begin with a full set".to_owned(),
        ),
        SourceRefusal::SequenceGap { expected } => (
            Code::FailedPrecondition,
            "SEQUENCE_GAP",
            vec![("expected", expected.to_string())],
            format!("writes of the session are missing: the next one is {expected}; send them in order"),
        ),
        SourceRefusal::Forgotten { oldest } => (
            Code::AlreadyExists,
            "WRITE_FORGOTTEN",
            vec![("oldest", oldest.to_string())],
            format!("the write was carried out, but its answer is forgotten; those from {oldest} on are known"),
        ),
        _ => (
            Code::FailedPrecondition,
            "RESYNC_DUE",
            vec![],
            "what is stored is of another incarnation of the source, or was withdrawn; begin with a Resync".to_owned(),
        ),
    };
    Words {
        code,
        reason,
        about,
        message,
    }
}

fn over(reason: &'static str, quota: &Quota, message: String) -> Words {
    let about = vec![
        ("what", quota.what.to_owned()),
        ("limit", quota.limit.to_string()),
        ("found", quota.found.to_string()),
    ];
    Words {
        code: Code::ResourceExhausted,
        reason,
        about,
        message,
    }
}

fn amount(number: u64, quota: &Quota) -> String {
    format!("{number} {}", quota.what)
}

//! The one mapping from this crate's errors to `tonic::Status` with `google.rpc` details.

mod sources;

use std::collections::HashMap;
use std::time::Duration;

use tidegate_store::{Outcome, StoreError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::access::Refusal;

pub(crate) use sources::{
    compacted, cut_off, source_refused, too_large, too_many_watches, unknown_revision,
};
pub(crate) use tidegate_runtime::error::chain;

/// Whose reasons the details of refusals are.
pub(crate) const REASON_DOMAIN: &str = "tidegate.dev";

/// A field of a request that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Path of the field in the request: `operations[3].put.content`.
    pub(crate) field: String,
    /// One sentence with the cause and the way out.
    pub(crate) description: String,
}

impl Violation {
    pub(crate) fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
        }
    }
}

/// INVALID_ARGUMENT with every violation; the message holds the first.
pub(crate) fn invalid(violations: &[Violation]) -> Status {
    let message = match violations {
        [] => "the request is invalid".to_owned(),
        [one] => one.description.clone(),
        [first, rest @ ..] => format!("{} (and {} more)", first.description, rest.len()),
    };
    let violation = |violation: &Violation| {
        FieldViolation::new(violation.field.clone(), violation.description.clone())
    };
    let details =
        ErrorDetails::with_bad_request(violations.iter().map(violation).collect::<Vec<_>>());
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// FAILED_PRECONDITION with one word for programs: the reason of `google.rpc.ErrorInfo`.
pub(crate) fn unexpected(reason: &str, message: impl Into<String>) -> Status {
    let (about, message) = (HashMap::<String, String>::new(), message.into());
    let mut details = ErrorDetails::with_error_info(reason, REASON_DOMAIN, about);
    details.add_precondition_failure_violation(reason, "", message.as_str());
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// NOT_FOUND with what is missing: "pool" and its name.
pub(crate) fn missing(kind: &str, name: impl Into<String>, message: impl Into<String>) -> Status {
    resource(Code::NotFound, kind, name.into(), message.into())
}

/// OUT_OF_RANGE: it was there and is not kept any more.
pub(crate) fn gone(kind: &str, name: impl Into<String>, message: impl Into<String>) -> Status {
    resource(Code::OutOfRange, kind, name.into(), message.into())
}

fn resource(code: Code, kind: &str, name: String, message: String) -> Status {
    let details = ErrorDetails::with_resource_info(kind, name, "", message.as_str());
    Status::with_error_details(code, message, details)
}

/// UNAUTHENTICATED where the caller is not known, else PERMISSION_DENIED, with the reason for programs.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::Unidentified => Code::Unauthenticated,
        _ => Code::PermissionDenied,
    };
    let details = ErrorDetails::with_error_info(
        refusal.reason(),
        REASON_DOMAIN,
        HashMap::<String, String>::new(),
    );
    Status::with_error_details(code, refusal.to_string(), details)
}

/// What a failed store operation means to a caller.
pub(crate) fn store(error: &StoreError) -> Status {
    let message = chain(error);
    match error {
        StoreError::DiskFull { .. }
        | StoreError::VotersFull { .. }
        | StoreError::NotWritten { .. } => Status::resource_exhausted(message),
        StoreError::NoBlob { .. } => Status::not_found(message),
        // Not UNAVAILABLE, which clients send again by themselves.
        StoreError::Uncertain { .. } => Status::aborted(message),
        StoreError::Membership { .. } => Status::failed_precondition(message),
        StoreError::LevelBelow { .. } => unexpected("LEVEL_TOO_LOW", message),
        StoreError::Removed { .. } | StoreError::LevelAbove { .. } => Status::unavailable(message),
        StoreError::NoLeader { .. } | StoreError::NotReady { .. } | StoreError::Stopped { .. } => {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(500)));
            Status::with_error_details(Code::Unavailable, message, details)
        }
        StoreError::Io { .. }
        | StoreError::InUse { .. }
        | StoreError::OtherFormat { .. }
        | StoreError::ClusterExists { .. }
        | StoreError::NotEmpty { .. }
        | StoreError::Founding { .. }
        | StoreError::Damaged { .. } => Status::internal(message),
    }
}

/// Nothing, or what the refusal of a change to a pool means to the caller.
pub(crate) fn pool_changed(pool: &str, outcome: Outcome) -> Result<(), Status> {
    match outcome {
        Outcome::PoolChanged { .. } => Ok(()),
        Outcome::ParentMismatch { head } => Err(crate::rpc::version::moved(pool, head)),
        Outcome::Refused { reason } => Err(Status::invalid_argument(reason)),
        other => Err(Status::internal(format!(
            "the store answered {other:?} to a change of pool {pool}"
        ))),
    }
}

/// A batch that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The revision that contains it.
    pub(crate) revision: u64,
    /// How many objects differ from before.
    pub(crate) changed: u32,
    /// Whether it was stored before.
    pub(crate) replayed: bool,
}

/// A stored batch, or what its refusal means to the caller.
pub(crate) fn applied(outcome: Outcome) -> Result<Applied, Status> {
    match outcome {
        Outcome::Applied { revision, changed } => Ok(Applied {
            revision,
            changed,
            replayed: false,
        }),
        Outcome::Replayed { first } => applied(*first).map(|first| Applied {
            replayed: true,
            ..first
        }),
        other => Err(not_stored(other)),
    }
}

/// What it means to the caller that objects are not stored.
pub(crate) fn not_stored(outcome: Outcome) -> Status {
    match outcome {
        Outcome::PreconditionFailed { index, key, found } => {
            let found = found.map_or_else(
                || "it does not exist".to_owned(),
                |at| format!("it was changed at revision {at}"),
            );
            let message = format!(
                "operations[{index}]: {} is not as the precondition says: {found}; read it again and retry",
                key,
            );
            unexpected("PRECONDITION_FAILED", message)
        }
        Outcome::BaseMoved { revision } => unexpected(
            "BASE_MOVED",
            format!("the objects have changed: they are at revision {revision}; make a new plan"),
        ),
        Outcome::SourceRefused(refusal) => source_refused(&refusal),
        Outcome::Refused { reason } => Status::invalid_argument(reason),
        other => Status::internal(format!(
            "the store answered {other:?} to a change of objects"
        )),
    }
}

//! The one mapping from this crate's errors to `tonic::Status` with `google.rpc` details.

use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use tidegate_store::{Outcome, StoreError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::access::Refusal;

/// Whose reasons the details of refusals are.
const REASON_DOMAIN: &str = "tidegate.dev";

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

/// The error and its causes in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
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

/// UNAUTHENTICATED where the caller is not known, else PERMISSION_DENIED, with the reason for programs.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::Unidentified => Code::Unauthenticated,
        _ => Code::PermissionDenied,
    };
    let details = ErrorDetails::with_error_info(
        refusal.reason(),
        REASON_DOMAIN,
        std::collections::HashMap::<String, String>::new(),
    );
    Status::with_error_details(code, refusal.to_string(), details)
}

/// What a failed store operation means to a caller.
pub(crate) fn store(error: &StoreError) -> Status {
    let message = chain(error);
    match error {
        StoreError::DiskFull { .. } | StoreError::NotWritten { .. } => {
            Status::resource_exhausted(message)
        }
        StoreError::NoBlob { .. } => Status::not_found(message),
        // Not UNAVAILABLE, which clients send again by themselves.
        StoreError::Uncertain { .. } => Status::aborted(message),
        StoreError::NoLeader { .. } | StoreError::NotReady { .. } | StoreError::Stopped { .. } => {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(500)));
            Status::with_error_details(Code::Unavailable, message, details)
        }
        StoreError::Io { .. }
        | StoreError::InUse { .. }
        | StoreError::OtherFormat { .. }
        | StoreError::ClusterExists { .. }
        | StoreError::Founding { .. }
        | StoreError::Damaged { .. } => Status::internal(message),
    }
}

/// The revision and count of an applied batch, or what its refusal means to the caller.
pub(crate) fn applied(outcome: Outcome) -> Result<(u64, u32), Status> {
    match outcome {
        Outcome::Applied { revision, changed } => Ok((revision, changed)),
        Outcome::PreconditionFailed { index, key, found } => {
            let found = found.map_or_else(
                || "it does not exist".to_owned(),
                |at| format!("it was changed at revision {at}"),
            );
            Err(Status::failed_precondition(format!(
                "operations[{index}]: {} is not as the precondition says: {found}; read it again and retry",
                crate::name::of(&key),
            )))
        }
        Outcome::Refused { reason } => Err(Status::invalid_argument(reason)),
        other => Err(Status::internal(format!(
            "the store answered {other:?} to a batch of objects"
        ))),
    }
}

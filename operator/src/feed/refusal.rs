//! Which objects of a request configd does not take, read from the details of its answer.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The refused places of a request, each with the reason; empty if the request as a whole is refused, or no refusal.
pub(super) fn refused_places(status: &Status, list: &str) -> BTreeMap<usize, String> {
    if status.code() != Code::InvalidArgument {
        return BTreeMap::new();
    }
    let details = status.get_details_bad_request();
    let violations = details.into_iter().flat_map(|bad| bad.field_violations);
    let mut places = BTreeMap::new();
    for violation in violations {
        if let Some(place) = place(&violation.field, list) {
            places.entry(place).or_insert(violation.description);
        }
    }
    places
}

/// The number in `operations[3].put.content`.
fn place(field: &str, list: &str) -> Option<usize> {
    let rest = field.strip_prefix(list)?.strip_prefix('[')?;
    let (number, _) = rest.split_once(']')?;
    number.parse().ok()
}

/// What a failure means to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody knows whether it was carried out, or it was not: the same request may be sent again.
    Again,
    /// Another writer has the source.
    Fenced,
    /// The session is of no use any more.
    Over,
}

/// Reads a failure of a write (see `docs/reference/sources.md`).
pub(super) fn verdict(status: &Status) -> Verdict {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match (status.code(), reason.as_deref()) {
        (_, Some("SESSION_FENCED")) => Verdict::Fenced,
        (_, Some("SET_MOVED" | "STAGE_LOST")) => Verdict::Over,
        (
            Code::Unavailable
            | Code::Aborted
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Unknown,
            _,
        ) => Verdict::Again,
        _ => Verdict::Over,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::{ErrorDetails, FieldViolation};

    use super::*;

    #[test]
    fn refused_objects_are_found_by_their_places() {
        let violation = |field: &str| FieldViolation::new(field, format!("{field} is wrong"));
        let details = ErrorDetails::with_bad_request(vec![
            violation("operations[3].put.content"),
            violation("operations[3].put.key"),
            violation("operations[11].delete.name"),
            violation("source"),
        ]);
        let status = Status::with_error_details(Code::InvalidArgument, "wrong", details);
        let places = refused_places(&status, "operations");
        let expected = [
            (3, "operations[3].put.content is wrong".to_owned()),
            (11, "operations[11].delete.name is wrong".to_owned()),
        ];
        assert_eq!(places, BTreeMap::from(expected));
        assert!(refused_places(&status, "objects").is_empty());
    }

    #[test]
    fn a_newer_session_is_told_from_a_connection_that_broke() {
        let none = HashMap::<String, String>::new();
        let details = ErrorDetails::with_error_info("SESSION_FENCED", "tidegate.dev", none);
        let fenced = Status::with_error_details(Code::Aborted, "newer", details);
        assert_eq!(verdict(&fenced), Verdict::Fenced);
        assert_eq!(verdict(&Status::aborted("uncertain")), Verdict::Again);
        assert_eq!(verdict(&Status::unavailable("gone")), Verdict::Again);
        assert_eq!(verdict(&Status::failed_precondition("gap")), Verdict::Over);
    }
}

//! What is tried again, and when (GEP-1731, as of Gateway API v1.7).

use std::time::Duration;

use http::{Method, Response, StatusCode};
use tidegate_ir::Retry;

use crate::http::grpc::GRPC_STATUS;

/// A wait does not grow beyond this, unless the rule asks for more from the beginning.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// The tries of one request.
#[derive(Debug)]
pub(crate) struct Retries<'r> {
    terms: &'r Retry,
    grpc: bool,
    idempotent: bool,
    made: u32,
}

impl<'r> Retries<'r> {
    pub(crate) fn new(terms: &'r Retry, method: &Method, grpc: bool) -> Self {
        Self {
            terms,
            grpc,
            idempotent: method.is_idempotent(),
            made: 0,
        }
    }

    /// Whether there may be another attempt.
    pub(crate) fn has_left(&self) -> bool {
        self.made < self.terms.attempts
    }

    /// Whether an answer leads to another attempt: by its status, or because a gRPC server says that it
    /// has done nothing.
    pub(crate) fn wants<B>(&self, response: &Response<B>) -> bool {
        let unavailable = || {
            let status = response.headers().get(GRPC_STATUS);
            self.grpc && status.is_some_and(|status| status == "14")
        };
        self.lists(response.status()) || unavailable()
    }

    /// Whether an attempt that took too long leads to another one. The backend may have done its work, so
    /// without a word of the rule only what may be done twice is sent twice (RFC 9110, section 9.2.2).
    pub(crate) fn wants_after_timeout(&self) -> bool {
        self.idempotent || self.lists(StatusCode::GATEWAY_TIMEOUT)
    }

    /// Counts another attempt, and says how long to wait before it: at least what the rule says, twice as
    /// much each time, and up to as much again by chance (`fraction`, 0 to 1).
    pub(crate) fn next_wait(&mut self, fraction: f64) -> Option<Duration> {
        let base = Duration::from_millis(self.terms.backoff_ms);
        let doubled = base.saturating_mul(1 << self.made.min(16));
        self.made += 1;
        let wait = doubled.min(BACKOFF_MAX.max(base));
        (!wait.is_zero()).then(|| wait.mul_f64(1.0 + fraction))
    }

    fn lists(&self, status: StatusCode) -> bool {
        self.terms.codes.binary_search(&status.as_u16()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(attempts: u32, backoff_ms: u64) -> Retry {
        Retry {
            attempts,
            codes: vec![500, 503],
            backoff_ms,
        }
    }

    #[test]
    fn waits_double_up_to_a_bound_and_are_never_shorter_than_asked() {
        let terms = terms(20, 100);
        let mut retries = Retries::new(&terms, &Method::GET, false);
        let wait_ms = |retries: &mut Retries<'_>, fraction| {
            retries.next_wait(fraction).map(|wait| wait.as_millis())
        };
        assert_eq!(wait_ms(&mut retries, 0.0), Some(100));
        assert_eq!(wait_ms(&mut retries, 0.5), Some(300));
        let rest: Vec<_> = (0..18).map(|_| wait_ms(&mut retries, 0.0)).collect();
        assert_eq!(rest[0], Some(400));
        assert_eq!(rest.last(), Some(&Some(10_000)));
        assert!(!retries.has_left());
    }

    #[test]
    fn a_rule_may_wait_longer_than_the_bound_or_not_at_all() {
        let long = terms(2, 60_000);
        let mut retries = Retries::new(&long, &Method::GET, false);
        assert_eq!(retries.next_wait(0.0), Some(Duration::from_secs(60)));
        assert_eq!(retries.next_wait(0.0), Some(Duration::from_secs(60)));
        let none = terms(2, 0);
        assert_eq!(
            Retries::new(&none, &Method::GET, false).next_wait(1.0),
            None
        );
    }

    #[test]
    fn codes_and_grpcs_unavailable_are_tried_again() {
        let terms = terms(1, 0);
        let response = |status: u16, grpc_status: &'static str| {
            let response = Response::builder().status(status);
            response
                .header(GRPC_STATUS, grpc_status)
                .body(())
                .expect("a response")
        };
        let http = Retries::new(&terms, &Method::POST, false);
        assert!(http.wants(&response(503, "0")));
        assert!(!http.wants(&response(502, "0")));
        assert!(!http.wants(&response(200, "14")));
        assert!(!http.wants_after_timeout());
        assert!(Retries::new(&terms, &Method::PUT, false).wants_after_timeout());
        let grpc = Retries::new(&terms, &Method::POST, true);
        assert!(grpc.wants(&response(200, "14")));
        assert!(!grpc.wants(&response(200, "13")));
    }
}

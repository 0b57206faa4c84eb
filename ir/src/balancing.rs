//! How the endpoints of a backend share the work, and when one is left out.

use std::sync::Arc;

use serde::Serialize;

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Balancing {
    /// One after the other.
    RoundRobin,
    /// The one with fewer requests in flight, of two drawn at random.
    LeastRequest,
    /// Equal keys go to equal endpoints, and few keys move when an endpoint comes or goes.
    RingHash(HashKey),
}

/// What of a request is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum HashKey {
    /// The client's address.
    ClientIp,
    /// The first value of a header, lower case; without it the request is balanced at random.
    Header(Arc<str>),
    /// The value of a cookie; without it the request is balanced at random.
    Cookie(Arc<str>),
}

/// Bounds on what one worker gives a backend; `None` means the worker's own bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ConnectionLimits {
    /// Open connections; at least 1.
    pub connections: Option<u32>,
    /// Requests that wait for a connection; more get 503.
    pub pending_requests: Option<u32>,
    /// Requests in flight; more get 503. At least 1.
    pub requests: Option<u32>,
}

/// When an endpoint that fails is left out for a while (passive health).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ejection {
    /// Failures in a row (5xx, failed connections, timeouts) that eject; at least 1.
    pub consecutive_errors: u32,
    /// How long the first ejection lasts, in milliseconds; each further one lasts longer by as much.
    pub base_ms: u64,
    /// At most that share of the endpoints is ejected at a time, 0 to 100.
    pub max_percent: u8,
    /// With less than that share of the endpoints healthy, ejections are ignored, 0 to 100.
    pub panic_percent: u8,
}

/// How many of the requests to a backend may be retries (GEP-3388).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RetryBudget {
    /// Share of the requests of the interval that may be retries, 0 to 100.
    pub percent: u8,
    /// Length of the interval in milliseconds, at least 1.
    pub interval_ms: u64,
    /// That many retries are allowed whatever the share...
    pub min_retries: u32,
    /// ...in each such time, in milliseconds; at least 1.
    pub min_interval_ms: u64,
}

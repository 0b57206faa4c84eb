//! What is tried again when an attempt fails (GEP-1731, as of v1.7).

use serde::Serialize;

/// What is tried again when an attempt fails; failed connections always are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Attempts after the first one; 0 means none.
    pub attempts: u32,
    /// Status codes of a backend that lead to another attempt, ascending; 400 to 599.
    pub codes: Vec<u16>,
    /// Least time between attempts in milliseconds; 0 means at once.
    pub backoff_ms: u64,
}

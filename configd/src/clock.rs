//! The leader's clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC; 0 where the clock stands before that.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds since 1970-01-01 UTC; 0 where the clock stands before that.
pub(crate) fn unix_s() -> i64 {
    unix_ms() / 1_000
}

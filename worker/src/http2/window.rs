//! How much credit a stream gets: as much as the path holds, found by what arrives within a round trip.

use std::time::Duration;

/// Credit of a stream on a path that nothing is known of, in bytes (RFC 9113, section 5.2).
pub(super) const WINDOW_BYTES_MIN: u32 = 256 << 10;

/// The credit of each stream of a connection.
#[derive(Debug)]
pub(super) struct Window {
    bytes: u32,
    bytes_max: u32,
    /// The greatest rate so far, in bytes per second.
    best: f64,
}

impl Window {
    /// Begins with the least, which may be above the bound only where the bound is lower.
    pub(super) fn new(bytes_max: u32) -> Self {
        Self {
            bytes: WINDOW_BYTES_MIN.min(bytes_max),
            bytes_max,
            best: 0.0,
        }
    }

    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(super) fn may_grow(&self) -> bool {
        self.bytes < self.bytes_max
    }

    /// So many bytes were taken within a round trip. Returns the new credit where the present one holds the
    /// client back: it was nearly used up, and more of it has made the client faster so far.
    pub(super) fn sample(&mut self, bytes: u64, round_trip: Duration) -> Option<u32> {
        let rate = bytes as f64 / round_trip.as_secs_f64().max(1e-6);
        if rate < self.best || bytes < u64::from(self.bytes) / 3 * 2 {
            return None;
        }
        self.best = rate;
        let grown = self.bytes.saturating_mul(2).min(self.bytes_max);
        (grown > self.bytes).then(|| {
            self.bytes = grown;
            grown
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    #[test]
    fn a_client_that_uses_its_credit_up_gets_more_up_to_the_bound() {
        let mut window = Window::new(1 << 20);
        let mut sizes = Vec::new();
        while window.may_grow() {
            sizes.extend(window.sample(u64::from(window.bytes()), ROUND_TRIP));
        }
        assert_eq!(sizes, [512 << 10, 1 << 20]);
        assert_eq!(window.sample(1 << 30, ROUND_TRIP), None);
    }

    #[test]
    fn a_client_that_leaves_credit_gets_no_more() {
        let mut window = Window::new(1 << 20);
        assert_eq!(window.sample(100 << 10, ROUND_TRIP), None);
    }

    #[test]
    fn credit_that_makes_nobody_faster_is_not_raised_further() {
        let mut window = Window::new(1 << 30);
        assert!(window.sample(256 << 10, ROUND_TRIP).is_some());
        // The same rate: the path is full, and only its queue grew.
        assert_eq!(window.sample(512 << 10, ROUND_TRIP * 3), None);
    }

    #[test]
    fn a_bound_below_the_least_holds() {
        assert_eq!(Window::new(1000).bytes(), 1000);
        assert!(!Window::new(1000).may_grow());
    }
}

//! What is known about one endpoint, shared by all threads and kept across snapshots.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use tidegate_ir::Ejection;

/// The longest ejection is this many times the shortest.
const EJECTIONS_MAX: u32 = 10;

/// One address of a backend.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// Requests in flight, counted where balancing wants to know.
    pub(super) in_flight: AtomicU32,
    /// Failures in a row.
    errors: AtomicU32,
    /// How often it was ejected without a success since.
    ejections: AtomicU32,
    /// End of its ejection on the clock of [`now_ms`]; 0 for none.
    ejected_until_ms: AtomicU64,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            in_flight: AtomicU32::new(0),
            errors: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn is_ejected(&self, now_ms: u64) -> bool {
        self.ejected_until_ms.load(Ordering::Relaxed) > now_ms
    }

    /// Notes a success; cheap where nothing went wrong before.
    pub(super) fn succeed(&self) {
        if self.errors.load(Ordering::Relaxed) != 0 {
            self.errors.store(0, Ordering::Relaxed);
        }
        // An answer to a request from before the ejection says nothing about a recovery.
        if self.ejections.load(Ordering::Relaxed) != 0 && !self.is_ejected(now_ms()) {
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failure; whether it was one too many.
    pub(super) fn fail(&self, ejection: &Ejection) -> bool {
        let errors = self.errors.fetch_add(1, Ordering::Relaxed) + 1;
        errors >= ejection.consecutive_errors
    }

    /// Leaves it out for a while, longer each time; returns the end.
    pub(super) fn eject(&self, ejection: &Ejection, now_ms: u64) -> u64 {
        let times = self.ejections.fetch_add(1, Ordering::Relaxed) + 1;
        let factor = u64::from(times.min(EJECTIONS_MAX));
        let until = now_ms.saturating_add(ejection.base_ms.saturating_mul(factor));
        self.errors.store(0, Ordering::Relaxed);
        self.ejected_until_ms.store(until, Ordering::Relaxed);
        until
    }
}

/// Milliseconds since the process first asked, at least 1.
pub(super) fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis())
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ejection(base_ms: u64) -> Ejection {
        Ejection {
            consecutive_errors: 1,
            base_ms,
            max_percent: 100,
            panic_percent: 0,
        }
    }

    #[test]
    fn each_further_ejection_lasts_longer_up_to_a_bound() {
        let endpoint = Endpoint::new(SocketAddr::from(([10, 0, 0, 1], 80)));
        let ends = (0..12).map(|_| endpoint.eject(&ejection(1_000), 0));
        let ends: Vec<_> = ends.collect();
        assert_eq!(ends[..3], [1_000, 2_000, 3_000]);
        assert_eq!(ends[9..], [10_000; 3]);
    }

    #[test]
    fn a_success_after_an_ejection_makes_the_next_one_short_again() {
        let endpoint = Endpoint::new(SocketAddr::from(([10, 0, 0, 1], 80)));
        endpoint.eject(&ejection(0), 0);
        endpoint.eject(&ejection(0), 0);
        endpoint.succeed();
        assert_eq!(endpoint.eject(&ejection(1_000), 5), 1_005);
    }

    #[test]
    fn a_late_success_during_an_ejection_does_not_count() {
        let endpoint = Endpoint::new(SocketAddr::from(([10, 0, 0, 1], 80)));
        endpoint.eject(&ejection(3_600_000), now_ms());
        endpoint.succeed();
        assert_eq!(endpoint.eject(&ejection(1_000), 0), 2_000);
    }
}

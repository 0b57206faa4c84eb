//! How many of the requests to a backend may be retries (GEP-3388), shared by all threads.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tidegate_ir::RetryBudget;

use super::endpoint::now_ms;

/// Counts requests and retries of one backend.
#[derive(Debug)]
pub(crate) struct Budget {
    terms: RetryBudget,
    requests: Window,
    retries: Window,
    least_retries: Window,
}

/// Counts within consecutive intervals; a count that straddles their border may land in either.
#[derive(Debug, Default)]
struct Window {
    start_ms: AtomicU64,
    count: AtomicU32,
}

impl Budget {
    pub(super) fn new(terms: RetryBudget) -> Self {
        Self {
            terms,
            requests: Window::default(),
            retries: Window::default(),
            least_retries: Window::default(),
        }
    }

    pub(super) fn terms(&self) -> &RetryBudget {
        &self.terms
    }

    /// Notes a request that is not a retry.
    pub(super) fn note_request(&self) {
        self.requests.add(now_ms(), self.terms.interval_ms);
    }

    /// Takes one retry, if the budget has one left.
    pub(super) fn take_retry(&self) -> bool {
        self.take_retry_at(now_ms())
    }

    fn take_retry_at(&self, now_ms: u64) -> bool {
        let RetryBudget {
            percent,
            interval_ms,
            min_retries,
            min_interval_ms,
        } = self.terms;
        let least = self.least_retries.get(now_ms, min_interval_ms);
        let requests = u64::from(self.requests.get(now_ms, interval_ms));
        let retries = u64::from(self.retries.get(now_ms, interval_ms));
        if least >= min_retries && (retries + 1) * 100 > requests * u64::from(percent) {
            return false;
        }
        self.least_retries.add(now_ms, min_interval_ms);
        self.retries.add(now_ms, interval_ms);
        true
    }
}

impl Window {
    fn get(&self, now_ms: u64, interval_ms: u64) -> u32 {
        self.roll(now_ms, interval_ms);
        self.count.load(Ordering::Relaxed)
    }

    fn add(&self, now_ms: u64, interval_ms: u64) {
        self.roll(now_ms, interval_ms);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn roll(&self, now_ms: u64, interval_ms: u64) {
        let start = self.start_ms.load(Ordering::Relaxed);
        let is_over = start == 0 || now_ms.saturating_sub(start) >= interval_ms;
        let begin = || {
            let order = Ordering::Relaxed;
            self.start_ms.compare_exchange(start, now_ms, order, order)
        };
        if is_over && begin().is_ok() {
            self.count.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::new(RetryBudget {
            percent: 20,
            interval_ms: 10_000,
            min_retries: 2,
            min_interval_ms: 1_000,
        })
    }

    #[test]
    fn a_share_of_the_requests_may_be_retries() {
        let budget = budget();
        for _ in 0..100 {
            budget.requests.add(5_000, 10_000);
        }
        let retries = (0..50).filter(|_| budget.take_retry_at(5_500)).count();
        assert_eq!(retries, 20);
    }

    #[test]
    fn a_few_retries_are_allowed_whatever_the_share() {
        let budget = budget();
        let retries = |now_ms| (0..10).filter(|_| budget.take_retry_at(now_ms)).count();
        assert_eq!(retries(5_000), 2);
        assert_eq!(retries(5_900), 0);
        assert_eq!(retries(6_100), 2);
    }
}

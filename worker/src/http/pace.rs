//! The least rate at which a client must send what somebody waits for.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::timer::Timer;

/// Watches that a body comes at the least rate while somebody waits for it.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    period: Duration,
    period_bytes_min: u64,
    /// Bytes of the present period.
    bytes: u64,
    /// How much of the present period somebody has waited, until the present wait.
    waited: Duration,
    since: Option<Instant>,
    timer: Timer,
}

impl Pace {
    /// Another body begins.
    pub(crate) fn begin(&mut self, limits: &Limits) {
        self.period = limits.body_pace_period;
        self.period_bytes_min = limits.body_pace_bytes_min;
        self.restart();
    }

    /// So many bytes came.
    pub(crate) fn note(&mut self, len: usize) {
        self.bytes += len as u64;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Ready when too few bytes came in a period of waiting. Call it when no byte is there.
    pub(crate) fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let since = *self.since.get_or_insert_with(Instant::now);
            let left = self.period.saturating_sub(self.waited);
            ready!(self.timer.poll_until(since + left, cx));
            if self.bytes < self.period_bytes_min {
                return Poll::Ready(());
            }
            self.restart();
        }
    }

    fn restart(&mut self) {
        (self.bytes, self.waited, self.since) = (0, Duration::ZERO, None);
    }
}

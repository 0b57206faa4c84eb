//! Notices that nothing has been passed on for too long, without reading a clock for each byte.

use std::time::{Duration, Instant};

use super::Patience;

/// How often in a patience's time it looks: so much later than it should, at most, a relay ends.
const LOOKS: u32 = 4;

/// A watch over the bytes of one relay.
#[derive(Debug)]
pub(super) struct Quiet {
    patience: Patience,
    half_closed: bool,
    moved: u64,
    /// When it last saw that something had moved.
    since: Instant,
    /// When it wants to look again.
    next: Instant,
}

impl Quiet {
    pub(super) fn new(patience: Patience, now: Instant) -> Self {
        Self {
            patience,
            half_closed: false,
            moved: 0,
            since: now,
            next: now + patience.idle / LOOKS,
        }
    }

    /// When [`Self::look`] is to be called.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn is_half_closed(&self) -> bool {
        self.half_closed
    }

    /// One side has said its last: from now on patience is shorter.
    pub(super) fn half_closed(&mut self, now: Instant) {
        self.half_closed = true;
        self.since = now;
        self.next = now + self.patience() / LOOKS;
    }

    /// Whether it was quiet for too long. `moved` counts the bytes that were passed on so far.
    pub(super) fn look(&mut self, now: Instant, moved: u64) -> bool {
        if moved != self.moved {
            (self.moved, self.since) = (moved, now);
        }
        let end = self.since + self.patience();
        self.next = end.min(now + self.patience() / LOOKS);
        now >= end
    }

    fn patience(&self) -> Duration {
        if self.half_closed {
            self.patience.half_closed
        } else {
            self.patience.idle
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(60),
        half_closed: Duration::from_secs(8),
    };

    /// Looks whenever it wants to, with so many bytes moved by then; returns the seconds until it is over.
    fn seconds_until_over(quiet: &mut Quiet, start: Instant, moved: impl Fn(u64) -> u64) -> u64 {
        for _ in 0..1000 {
            let now = quiet.next();
            let seconds = now.duration_since(start).as_secs();
            if quiet.look(now, moved(seconds)) {
                return seconds;
            }
        }
        panic!("it is never over");
    }

    #[test]
    fn it_is_over_soon_after_the_idle_time_and_not_before() {
        let start = Instant::now();
        let mut quiet = Quiet::new(PATIENCE, start);
        assert_eq!(seconds_until_over(&mut quiet, start, |_| 0), 60);
        // A byte each 40 seconds for 200 seconds.
        let mut quiet = Quiet::new(PATIENCE, start);
        let end = seconds_until_over(&mut quiet, start, |seconds| seconds.min(200) / 40);
        assert!((260..=275).contains(&end), "{end}");
    }

    #[test]
    fn after_one_side_has_ended_patience_is_shorter() {
        let start = Instant::now();
        let mut quiet = Quiet::new(PATIENCE, start);
        quiet.half_closed(start + Duration::from_secs(30));
        assert_eq!(seconds_until_over(&mut quiet, start, |_| 5), 40);
        assert!(quiet.is_half_closed());
    }
}

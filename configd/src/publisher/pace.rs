//! How long a publisher rests between two rounds. Pure.

use std::time::{Duration, Instant};

/// While changes keep coming, rounds are so many times as far apart as one takes, so that a fifth of the time is theirs at most;
/// but no further and no nearer than this.
const PAUSE_OF_A_ROUND: u32 = 4;
const PAUSE_MAX: Duration = Duration::from_millis(80);
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// Rest that is saved up while nothing changes, at most: so long a burst of rounds goes without a pause.
const SAVED_MAX: Duration = Duration::from_millis(100);

/// What a publisher has rested.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the last pause was over.
    rested: Instant,
    /// Time since then in which nothing was to be done, as far as no round has used it up.
    saved: Duration,
}

impl Pace {
    /// That of one who has rested enough.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rested: now,
            saved: SAVED_MAX,
        }
    }

    /// The pause after a round.
    pub(super) fn pause(&mut self, started: Instant, ended: Instant) -> Duration {
        let idle = started.saturating_duration_since(self.rested);
        self.saved = (self.saved + idle).min(SAVED_MAX);
        let took = ended - started;
        let used = took.min(self.saved);
        self.saved -= used;
        let pause = match took - used {
            Duration::ZERO => Duration::ZERO,
            owed => (owed * PAUSE_OF_A_ROUND).clamp(PAUSE_MIN, PAUSE_MAX),
        };
        self.rested = ended + pause;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: Duration = Duration::from_millis(10);

    /// The pauses after so many rounds, each of which begins so long after the pause before it.
    fn pauses(count: usize, idle: Duration) -> Vec<Duration> {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let mut pauses = vec![];
        for _ in 0..count {
            now += idle;
            let ended = now + ROUND;
            pauses.push(pace.pause(now, ended));
            now = ended + pauses[pauses.len() - 1];
        }
        pauses
    }

    #[test]
    fn changes_now_and_then_are_published_without_a_pause() {
        let often = pauses(100, 2 * ROUND);
        assert!(often.iter().all(Duration::is_zero));
    }

    #[test]
    fn a_fifth_of_the_time_is_the_publishers_where_changes_keep_coming() {
        let pauses = pauses(100, Duration::ZERO);
        let burst = pauses.iter().take_while(|pause| pause.is_zero()).count();
        assert_eq!(burst, 10, "what was saved up is used up");
        assert!(
            pauses[burst..]
                .iter()
                .all(|pause| *pause == PAUSE_OF_A_ROUND * ROUND)
        );
    }

    #[test]
    fn a_pause_has_its_bounds() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let long = now + Duration::from_secs(1);
        assert_eq!(pace.pause(now, long), PAUSE_MAX);
        let short = long + PAUSE_MAX;
        assert_eq!(
            pace.pause(short, short + Duration::from_micros(1)),
            PAUSE_MIN
        );
    }
}

//! Exponential backoff with a cap and jitter, for reconnects and retries.

use std::time::{Duration, SystemTime};

/// An endless iterator of delays: each is drawn from the upper half of a ceiling that doubles up to
/// a cap.
///
/// The lower half is never drawn, so a caller cannot spin; the upper half is random, so a fleet that
/// lost the same server does not come back in one wave.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    ceiling: Duration,
    random: SplitMix64,
}

impl Backoff {
    /// Delays start below `first` and never exceed `cap`; a `cap` below `first` wins.
    pub fn new(first: Duration, cap: Duration, random: SplitMix64) -> Self {
        Self {
            first,
            cap,
            ceiling: first.min(cap),
            random,
        }
    }

    /// Starts over from the first delay: call it after a success.
    pub fn reset(&mut self) {
        self.ceiling = self.first.min(self.cap);
    }

    /// The next delay, between half of the current ceiling and the ceiling.
    pub fn next_delay(&mut self) -> Duration {
        let half = self.ceiling / 2;
        let delay = half + half.mul_f64(self.random.next_fraction());
        self.ceiling = self.ceiling.saturating_mul(2).min(self.cap);
        delay
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.next_delay())
    }
}

/// The splitmix64 generator: enough randomness to spread retries, none for secrets.
///
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A sequence that `seed` determines: for tests and for simulations.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A sequence that differs between processes and between starts of one process.
    pub fn from_process() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let pid = u64::from(std::process::id());
        let clock = since_epoch.as_secs() ^ (u64::from(since_epoch.subsec_nanos()) << 32);
        Self::seeded(clock ^ pid.rotate_left(48))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number in `0.0..1.0`, with the 53 bits that an `f64` holds exactly.
    pub fn next_fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(5);

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(FIRST, CAP, SplitMix64::seeded(seed))
    }

    #[test]
    fn every_delay_lies_in_the_upper_half_of_a_doubling_ceiling() {
        let mut ceiling = FIRST;
        for delay in backoff(7).take(40) {
            assert!(
                delay >= ceiling / 2 && delay <= ceiling,
                "{delay:?} for {ceiling:?}"
            );
            ceiling = (ceiling * 2).min(CAP);
        }
    }

    #[test]
    fn a_reset_starts_over() {
        let mut delays = backoff(7);
        delays.by_ref().take(10).for_each(drop);
        delays.reset();
        assert!(delays.next_delay() <= FIRST);
    }

    #[test]
    fn two_processes_do_not_retry_in_step() {
        let one: Vec<_> = backoff(1).take(8).collect();
        let other: Vec<_> = backoff(2).take(8).collect();
        assert_ne!(one, other);
        assert_eq!(one, backoff(1).take(8).collect::<Vec<_>>());
    }

    #[test]
    fn a_cap_below_the_first_delay_wins() {
        let mut delays = Backoff::new(CAP, FIRST, SplitMix64::seeded(3));
        assert!(delays.next_delay() <= FIRST);
    }

    #[test]
    fn the_generator_gives_the_published_sequence() {
        // The first outputs for seed 1234567, from the reference implementation's test vectors.
        let mut random = SplitMix64::seeded(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }
}

//! Whose turn it is, by weight.

use std::sync::atomic::{AtomicU64, Ordering};

/// Gives turns to weighted choices. Of as many turns in a row as the weights add up to, each choice gets
/// exactly its weight, spread evenly.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Sum of the weights up to and with each choice, divided by their greatest common divisor.
    sums: Box<[u64]>,
    /// Coprime to the last sum, near its golden section: consecutive turns land far apart.
    stride: u64,
    taken: AtomicU64,
}

impl Turns {
    /// # Errors
    /// One sentence, when the weights add up to 0.
    pub(crate) fn new(weights: impl Iterator<Item = u32> + Clone) -> Result<Self, String> {
        let divisor = weights.clone().fold(0, |divisor, weight| {
            common_divisor(divisor, u64::from(weight))
        });
        let mut total = 0;
        let sums = weights.map(|weight| {
            total += u64::from(weight) / divisor.max(1);
            total
        });
        let sums: Box<[u64]> = sums.collect();
        if total == 0 {
            return Err("the weights of its backends add up to 0".to_owned());
        }
        Ok(Self {
            sums,
            stride: stride(total),
            taken: AtomicU64::new(0),
        })
    }

    /// The choice whose turn is next, by its place from 0.
    pub(crate) fn next(&self) -> usize {
        if self.sums.len() == 1 {
            return 0;
        }
        let turn = self.taken.fetch_add(1, Ordering::Relaxed);
        let total = self.sums.last().copied().expect("a weight above 0");
        // Both factors are below 2^32: at most 2^12 choices of at most 10^6.
        let slot = (turn % total) * self.stride % total;
        self.sums.partition_point(|sum| *sum <= slot)
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

fn stride(total: u64) -> u64 {
    let golden = (total as f64 * 0.618_033_988_749_895) as u64;
    (golden.max(1)..=total)
        .find(|stride| common_divisor(*stride, total) == 1)
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32]) -> Turns {
        Turns::new(weights.iter().copied()).expect("valid weights")
    }

    fn taken(turns: &Turns, count: u64, choice: usize) -> u64 {
        let taken = (0..count).filter(|_| turns.next() == choice);
        taken.count() as u64
    }

    #[test]
    fn each_round_gives_every_choice_exactly_its_weight() {
        for weights in [&[90, 10][..], &[1, 2, 3], &[7, 0, 5], &[999_983, 17]] {
            let turns = turns(weights);
            let round = turns.sums.last().copied().expect("not empty");
            let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            for (choice, weight) in weights.iter().enumerate() {
                let expected = u64::from(*weight) * round / sum;
                assert_eq!(taken(&turns, round, choice), expected, "{weights:?}");
            }
        }
    }

    #[test]
    fn shares_are_spread_evenly_inside_a_round() {
        let tenth = turns(&[90, 10]);
        for window in 0..5 {
            assert_eq!(taken(&tenth, 10, 1), 1, "window {window}");
        }
    }

    #[test]
    fn weights_without_a_sum_are_refused() {
        assert!(Turns::new([0, 0].into_iter()).is_err());
    }
}

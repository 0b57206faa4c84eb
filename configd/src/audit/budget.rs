//! How many refusals are kept: whoever is refused again and again must not push out the records of others. Pure.

/// Refusals that are kept in a second; the number of the others is kept.
const REFUSALS_PER_S: u64 = 10;

/// Counts the refusals of a second.
#[derive(Debug, Default)]
pub(super) struct Budget {
    second: i64,
    kept: u64,
    left_out: u64,
}

impl Budget {
    /// Whether a refusal of this moment is kept; if not, it is counted.
    pub(super) fn keeps(&mut self, time_unix_ms: i64) -> bool {
        let second = time_unix_ms / 1_000;
        if second != self.second {
            self.second = second;
            self.kept = 0;
        }
        self.kept += 1;
        let keeps = self.kept <= REFUSALS_PER_S;
        if !keeps {
            self.left_out += 1;
        }
        keeps
    }

    /// Counts refusals that did not even get here.
    pub(super) fn leave_out(&mut self, count: u64) {
        self.left_out += count;
    }

    /// How many were left out since this was asked last.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_refusals_a_second_are_kept_and_the_others_counted() {
        let mut budget = Budget::default();
        assert_eq!((0..25).filter(|_| budget.keeps(5_000)).count(), 10);
        assert!(budget.keeps(6_000));
        assert_eq!((budget.take_left_out(), budget.take_left_out()), (15, 0));
    }
}

//! What is wanted of a source: its bounds, how many deletions are too many, and what becomes of a silent one.

use tidegate_proto::raft::v1;

use super::SourceRefusal;

/// What is wanted of one source. `None` stands for the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Objects, at most.
    pub objects_max: Option<u64>,
    /// Bytes of their contents, at most.
    pub bytes_max: Option<u64>,
    /// The part of its objects in percent that a full set may delete unasked; 100 for any.
    pub hold_percent: Option<u32>,
    /// As many a full set may delete in any case.
    pub hold_min: Option<u64>,
    /// How long it may be stale before its objects are deleted, in milliseconds; `None` for ever.
    pub withdraw_after_ms: Option<u64>,
}

/// A bound that would be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// "objects" or "bytes".
    pub what: &'static str,
    /// The bound.
    pub limit: u64,
    /// What there would be.
    pub found: u64,
}

impl Policy {
    /// Objects of a source, at most, unless its policy says otherwise.
    pub const OBJECTS_MAX: u64 = 200_000;
    /// Bytes of a source, at most, unless its policy says otherwise.
    pub const BYTES_MAX: u64 = 256 << 20;
    /// Percent of a source that a full set may delete, unless its policy says otherwise.
    pub const HOLD_PERCENT: u32 = 20;
    /// Objects that a full set may delete in any case, unless its policy says otherwise.
    pub const HOLD_MIN: u64 = 10;

    /// Objects, at most.
    pub fn objects_max(&self) -> u64 {
        self.objects_max.unwrap_or(Self::OBJECTS_MAX)
    }

    /// Bytes, at most.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max.unwrap_or(Self::BYTES_MAX)
    }

    /// The part in percent that a full set may delete unasked.
    pub fn hold_percent(&self) -> u32 {
        self.hold_percent.unwrap_or(Self::HOLD_PERCENT)
    }

    /// As many a full set may delete in any case.
    pub fn hold_min(&self) -> u64 {
        self.hold_min.unwrap_or(Self::HOLD_MIN)
    }

    /// Whether a full set that deletes so many of so many objects waits to be confirmed.
    pub(crate) fn holds(&self, deleted: u64, of: u64) -> bool {
        let allowed = u128::from(of) * u128::from(self.hold_percent()) / 100;
        deleted > self.hold_min() && u128::from(deleted) > allowed
    }

    /// Whether there is room for what a change leaves, from (objects, bytes) to (objects, bytes). What shrinks is
    /// let through even above the bounds.
    pub(crate) fn room(&self, before: (u64, u64), after: (u64, u64)) -> Result<(), SourceRefusal> {
        let over = |what, limit, before, after| match after > limit && after > before {
            true => Err(SourceRefusal::OverQuota(Quota {
                what,
                limit,
                found: after,
            })),
            false => Ok(()),
        };
        over("objects", self.objects_max(), before.0, after.0)?;
        over("bytes", self.bytes_max(), before.1, after.1)
    }
}

impl From<v1::SourcePolicy> for Policy {
    fn from(policy: v1::SourcePolicy) -> Self {
        Self {
            objects_max: policy.objects_max,
            bytes_max: policy.bytes_max,
            hold_percent: policy.hold_percent,
            hold_min: policy.hold_min,
            withdraw_after_ms: policy.withdraw_after_ms,
        }
    }
}

impl From<Policy> for v1::SourcePolicy {
    fn from(policy: Policy) -> Self {
        Self {
            objects_max: policy.objects_max,
            bytes_max: policy.bytes_max,
            hold_percent: policy.hold_percent,
            hold_min: policy.hold_min,
            withdraw_after_ms: policy.withdraw_after_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_may_go_and_few_objects_in_any_case() {
        let policy = Policy::default();
        assert!(!policy.holds(10, 10));
        assert!(!policy.holds(20, 100));
        assert!(policy.holds(21, 100));
        let never = Policy {
            hold_percent: Some(100),
            ..policy
        };
        assert!(!never.holds(1_000, 1_000));
    }

    #[test]
    fn what_shrinks_is_let_through_above_the_bounds() {
        let policy = Policy {
            objects_max: Some(5),
            ..Policy::default()
        };
        assert!(policy.room((9, 90), (8, 80)).is_ok());
        assert!(policy.room((5, 90), (6, 91)).is_err());
    }
}

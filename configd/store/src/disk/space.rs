//! Free space of a file system, and what it means for writes.

use std::{collections::BTreeMap, io, path::Path};

/// How much space a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that it may still write.
    pub free: u64,
    /// Bytes that are kept free; below that nothing new is written.
    pub reserve: u64,
}

impl DiskSpace {
    /// Looks at the file system of `path`. The standard library has no call for it.
    pub(crate) fn of(path: &Path, reserve: u64) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        Ok(Self { free, reserve })
    }

    /// Whether the leader begins no write.
    pub fn is_short(&self) -> bool {
        self.free < self.reserve
    }

    /// Whether a replica takes no entry either. The leader stops before, so this is for what is on its way then.
    pub(crate) fn is_critical(&self) -> bool {
        self.free < self.reserve / 2
    }
}

/// The voters that are short of space, where the others are no majority: what is written now would stay unconfirmed.
pub(crate) fn blocking(
    voters: impl IntoIterator<Item = u64>,
    known: &BTreeMap<u64, DiskSpace>,
) -> Vec<u64> {
    let voters: Vec<u64> = voters.into_iter().collect();
    let is_short = |id: &u64| known.get(id).is_some_and(DiskSpace::is_short);
    let short: Vec<u64> = voters.iter().copied().filter(is_short).collect();
    let majority = voters.len() / 2 + 1;
    match voters.len() - short.len() < majority {
        true => short,
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(free: u64) -> DiskSpace {
        DiskSpace { free, reserve: 10 }
    }

    #[test]
    fn writes_need_a_majority_with_space() {
        let one = BTreeMap::from([(1, space(0)), (2, space(50)), (3, space(50))]);
        assert!(blocking([1, 2, 3], &one).is_empty());
        let two = BTreeMap::from([(1, space(0)), (2, space(50)), (3, space(9))]);
        assert_eq!(blocking([1, 2, 3], &two), [1, 3]);
        assert_eq!(blocking([1], &one), [1]);
    }

    #[test]
    fn a_node_that_has_not_said_and_one_that_does_not_vote_do_not_count() {
        assert!(blocking([1, 2, 3], &BTreeMap::from([(1, space(0))])).is_empty());
        let others = BTreeMap::from([(1, space(50)), (8, space(0)), (9, space(0))]);
        assert!(blocking([1, 2, 3], &others).is_empty());
    }

    #[test]
    fn a_replica_stops_after_the_leader_does() {
        assert!(space(9).is_short() && !space(9).is_critical());
        assert!(space(4).is_critical() && !space(10).is_short());
    }
}

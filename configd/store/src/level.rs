//! Feature levels: what a cluster of several releases may write, so that no node meets what it does not know.
//!
//! A release knows all levels up to its highest. A cluster begins at the lowest of its founders' and goes up, by an entry of
//! the log, when every member knows more; it never goes down.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use prost::Message;
use tidegate_proto::raft::v1::RaiseLevel;

use crate::{StoreError, raft::Membership};

/// The level of the releases that do not tell theirs.
pub(crate) const FIRST_LEVEL: u32 = 1;
/// From this level on steps of rollouts may be given in workers.
pub(crate) const WORKERS_OF_A_STEP: u32 = 2;
/// The highest level that this release knows. Whatever is added to commands gets the next one.
pub const HIGHEST_LEVEL: u32 = WORKERS_OF_A_STEP;

/// Where a node stands.
#[derive(Debug)]
pub(crate) struct Levels {
    /// What it knows.
    pub(crate) highest: u32,
    /// What its cluster has reached, as far as the node has applied the log.
    reached: AtomicU32,
    /// What another node has told of, beyond what this one knows.
    beyond: OnceLock<u32>,
}

impl Levels {
    pub(crate) fn new(highest: u32, reached: u32) -> Self {
        Self {
            highest,
            reached: AtomicU32::new(reached),
            beyond: OnceLock::new(),
        }
    }

    /// What the cluster has reached, as far as the node has applied the log.
    pub(crate) fn reached(&self) -> u32 {
        self.reached.load(Ordering::Acquire)
    }

    /// Takes in what the log says.
    pub(crate) fn reach(&self, level: u32) {
        if self.reached.fetch_max(level, Ordering::AcqRel) < level {
            tracing::info!(level, "the cluster has reached a feature level");
        }
    }

    /// Takes in where another node says that the cluster is. From then on this node takes no part, where it does not know
    /// that level.
    pub(crate) fn hear(&self, level: u32) -> Result<(), StoreError> {
        let known = check(level, self.highest);
        if let Err(error) = &known
            && self.beyond.set(level).is_ok()
        {
            tracing::error!(%error, "this node stays out of its cluster");
        }
        known
    }

    /// Fails once the node has heard of a level that it does not know.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let beyond = self.beyond.get();
        beyond.map_or(Ok(()), |beyond| check(*beyond, self.highest))
    }
}

/// Fails where a node that knows the levels up to `highest` cannot take part in a cluster at `level`.
pub(crate) fn check(level: u32, highest: u32) -> Result<(), StoreError> {
    match level > highest {
        true => Err(StoreError::LevelAbove { level, highest }),
        false => Ok(()),
    }
}

/// A level as it travels: releases that do not tell theirs are of the first.
pub(crate) fn told(level: u32) -> u32 {
    level.max(FIRST_LEVEL)
}

/// The level at which a cluster begins that has these members.
pub(crate) fn founded_at(founders: &Membership) -> u32 {
    let levels = founders.nodes().map(|(_, member)| told(member.level));
    levels.min().unwrap_or(FIRST_LEVEL)
}

/// The level that an encoded command raises the cluster to; 0 for all other commands. The rest is not read.
pub(crate) fn raised_by(command: &Bytes) -> u32 {
    #[derive(Clone, PartialEq, Message)]
    struct Raise {
        #[prost(message, optional, tag = "10")]
        raise: Option<RaiseLevel>,
    }
    let raise = Raise::decode(command.clone()).ok();
    raise.and_then(|found| found.raise).map_or(0, |to| to.level)
}

#[cfg(test)]
mod tests {
    use tidegate_proto::raft::v1::StageBlobs;

    use super::*;
    use crate::Command;

    #[test]
    fn a_raise_is_told_from_all_other_commands() {
        let raise = Command::RaiseLevel(RaiseLevel { level: 7 });
        assert_eq!(raised_by(&raise.encode()), 7);
        let other = Command::StageBlobs(StageBlobs { blobs: vec![] });
        assert_eq!(raised_by(&other.encode()), 0);
        assert_eq!(raised_by(&Bytes::from_static(b"\xff\xff")), 0);
    }

    #[test]
    fn what_the_cluster_has_reached_never_goes_down() {
        let levels = Levels::new(3, 1);
        levels.reach(2);
        levels.reach(1);
        assert_eq!(levels.reached(), 2);
    }

    #[test]
    fn a_node_that_hears_of_more_than_it_knows_takes_no_part_from_then_on() {
        let levels = Levels::new(2, 1);
        levels.hear(2).unwrap();
        levels.check().unwrap();
        levels.hear(3).unwrap_err();
        let error = levels.check().unwrap_err().to_string();
        assert!(
            error.contains("level 3") && error.contains("up to 2"),
            "{error}"
        );
    }
}

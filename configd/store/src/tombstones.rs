//! Objects that are gone and since when, so that a reader who knew them can hear of it.

use std::collections::VecDeque;

use crate::key::ObjectKey;

/// Deletions that are remembered, at most.
const KEYS_MAX: usize = 32_768;

/// The last deletions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tombstones {
    /// Every deletion after this revision is remembered.
    pub(crate) floor: u64,
    /// Ordered by revision. A key may be in it twice, and may exist again.
    gone: VecDeque<(u64, ObjectKey)>,
}

impl Tombstones {
    /// Remembers nothing before `floor`.
    pub(crate) fn starting_at(floor: u64) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }

    /// Remembers a deletion, and forgets the oldest one that is too many.
    pub(crate) fn push(&mut self, revision: u64, key: ObjectKey) {
        self.gone.push_back((revision, key));
        if self.gone.len() > KEYS_MAX
            && let Some((forgotten, _)) = self.gone.pop_front()
        {
            self.floor = forgotten;
        }
    }

    /// Every deletion that is remembered, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u64, ObjectKey)> {
        self.gone.iter()
    }

    /// The deletions after `revision`, oldest first; `None` where not all of them are remembered.
    pub(crate) fn since(&self, revision: u64) -> Option<impl Iterator<Item = &(u64, ObjectKey)>> {
        let newer = self.gone.partition_point(|(at, _)| *at <= revision);
        (revision >= self.floor).then(|| self.gone.range(newer..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> ObjectKey {
        ObjectKey::new("files", "", "Service", "shop", &format!("service-{number}"))
    }

    #[test]
    fn what_is_forgotten_is_not_passed_over() {
        let mut tombstones = Tombstones::starting_at(3);
        assert!(tombstones.since(2).is_none());
        for number in 0..KEYS_MAX {
            tombstones.push(4 + number as u64, key(number));
        }
        assert_eq!(tombstones.since(3).unwrap().count(), KEYS_MAX);
        tombstones.push(4 + KEYS_MAX as u64, key(KEYS_MAX));
        assert!(tombstones.since(3).is_none());
        assert_eq!(tombstones.since(4).unwrap().count(), KEYS_MAX);
        assert_eq!(tombstones.since(3 + KEYS_MAX as u64).unwrap().count(), 1);
    }
}

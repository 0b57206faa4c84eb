//! The keys that changed lately, so that a reader can follow the object set without reading all of it.

use std::collections::VecDeque;

use crate::key::ObjectKey;

/// Keys that are remembered, at most.
const KEYS_MAX: usize = 65_536;

/// Which keys each of the last revisions changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Everything after this revision is remembered.
    floor: u64,
    revisions: VecDeque<(u64, Vec<ObjectKey>)>,
    keys: usize,
}

impl Changes {
    /// Remembers nothing before `revision`.
    pub(crate) fn starting_at(revision: u64) -> Self {
        Self {
            floor: revision,
            ..Self::default()
        }
    }

    /// Remembers the keys that `revision` changed, and forgets the oldest revisions that are too many.
    pub(crate) fn push(&mut self, revision: u64, keys: Vec<ObjectKey>) {
        self.keys += keys.len();
        self.revisions.push_back((revision, keys));
        while self.keys > KEYS_MAX {
            let Some((gone, keys)) = self.revisions.pop_front() else {
                break;
            };
            self.keys -= keys.len();
            self.floor = gone;
        }
    }

    /// The keys that changed after `revision`, each once and in order; `None` where that is no longer known.
    pub(crate) fn since(&self, revision: u64) -> Option<Vec<ObjectKey>> {
        if revision < self.floor {
            return None;
        }
        let newer = self
            .revisions
            .partition_point(|(changed_at, _)| *changed_at <= revision);
        let keys = self.revisions.range(newer..).flat_map(|(_, keys)| keys);
        let mut keys: Vec<_> = keys.cloned().collect();
        keys.sort_unstable();
        keys.dedup();
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("files", "", "Service", "shop", name)
    }

    #[test]
    fn a_reader_sees_each_key_that_changed_after_its_revision_once() {
        let mut changes = Changes::starting_at(3);
        changes.push(4, vec![key("a")]);
        changes.push(6, vec![key("b"), key("a")]);
        assert_eq!(changes.since(3), Some(vec![key("a"), key("b")]));
        assert_eq!(changes.since(5), Some(vec![key("a"), key("b")]));
        assert_eq!(changes.since(6), Some(vec![]));
    }

    #[test]
    fn a_revision_that_is_too_old_is_not_guessed() {
        let mut changes = Changes::starting_at(3);
        assert_eq!(changes.since(2), None);
        for revision in 4..4 + 2 * KEYS_MAX as u64 {
            changes.push(revision, vec![key("a")]);
        }
        assert_eq!(changes.since(3), None);
        assert_eq!(changes.since(3 + 2 * KEYS_MAX as u64), Some(vec![]));
    }
}

//! An ordered map of which versions share what they have in common.

use std::fmt;
use std::sync::Arc;

/// Entries that lie together, at most. A change copies as many, and a copy of a map of `n` entries is `n / 32` pointers.
const CHUNK_MAX: usize = 64;

/// Entries under which a chunk joins the one beside it, if there is room.
const CHUNK_MIN: usize = 16;

/// An ordered map whose copies share all that is not changed in one of them: a copy is made in a moment, a change takes
/// the time of one chunk, and what differs between two copies is found without looking at what they share.
#[derive(Clone)]
pub struct PersistentMap<K, V> {
    /// In order, none of them empty.
    chunks: Vec<Arc<Chunk<K, V>>>,
    len: usize,
}

type Chunk<K, V> = Vec<(K, V)>;

/// A key with what two maps have for it; at least one of them has something.
pub type Difference<'m, K, V> = (&'m K, Option<&'m V>, Option<&'m V>);

impl<K: Ord + Clone, V: Clone> PersistentMap<K, V> {
    /// A map without entries.
    pub const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = place(chunk, key).ok()?;
        Some(&chunk[at].1)
    }

    /// Whether there is a value for a key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let chunks = self.chunks.iter();
        chunks.flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries from a key on, in order, without going through those before.
    pub fn range_from<'m>(
        &'m self,
        key: &K,
    ) -> impl Iterator<Item = (&'m K, &'m V)> + use<'m, K, V> {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get(at).map_or(&[][..], |chunk| {
            let from = place(chunk, key).unwrap_or_else(|from| from);
            &chunk[from..]
        });
        let later = self.chunks.get(at + 1..).unwrap_or_default();
        let later = later.iter().flat_map(|chunk| chunk.iter());
        chunk.iter().chain(later).map(|(key, value)| (key, value))
    }

    /// Puts a value in the place of what a key had, and returns that.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk_of(&key);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        match place(chunk, &key) {
            Ok(at) => return Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(to) => chunk.insert(to, (key, value)),
        }
        self.len += 1;
        if chunk.len() > CHUNK_MAX {
            let upper = chunk.split_off(CHUNK_MAX / 2);
            self.chunks.insert(at + 1, Arc::new(upper));
        }
        None
    }

    /// Takes a key out, and returns what it had.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(at)?;
        let place = place(chunk, key).ok()?;
        let (_, value) = Arc::make_mut(chunk).remove(place);
        self.len -= 1;
        self.join(at);
        Some(value)
    }

    /// What differs from an older version, in order; entries that are equal may be among it, if they lie beside others
    /// that differ.
    pub fn since<'m>(&'m self, older: &'m Self) -> Vec<Difference<'m, K, V>> {
        let (mut old, mut new) = (Walk::of(older), Walk::of(self));
        let mut found = Vec::new();
        loop {
            while Walk::skip_shared(&mut old, &mut new) {}
            found.push(match (old.peek(), new.peek()) {
                (None, None) => return found,
                (Some((key, before)), now) if now.is_none_or(|(other, _)| key < other) => {
                    old.step();
                    (key, Some(before), None)
                }
                (before, Some((key, now))) if before.is_none_or(|(other, _)| key < other) => {
                    new.step();
                    (key, None, Some(now))
                }
                (before, now) => {
                    old.step();
                    new.step();
                    let (key, now) = now.expect("one of three cases, of which two are above");
                    (key, before.map(|(_, before)| before), Some(now))
                }
            });
        }
    }

    /// The chunk that has a key, or would have it; that behind the last where there is none.
    fn chunk_of(&self, key: &K) -> usize {
        let behind = self.chunks.partition_point(|chunk| chunk[0].0 <= *key);
        behind.saturating_sub(1)
    }

    /// Removes a chunk that is empty, and joins a small one with the one behind or before it.
    fn join(&mut self, at: usize) {
        if self.chunks[at].is_empty() {
            self.chunks.remove(at);
            return;
        }
        if self.chunks[at].len() >= CHUNK_MIN || self.chunks.len() < 2 {
            return;
        }
        let first = at.min(self.chunks.len() - 2);
        if self.chunks[first].len() + self.chunks[first + 1].len() > CHUNK_MAX {
            return;
        }
        let second = self.chunks.remove(first + 1);
        Arc::make_mut(&mut self.chunks[first]).extend(second.iter().cloned());
    }
}

/// Where a key is in a chunk, or where it would have to be.
fn place<K: Ord, V>(chunk: &[(K, V)], key: &K) -> Result<usize, usize> {
    chunk.binary_search_by(|(other, _)| other.cmp(key))
}

/// A way through the entries of a map.
struct Walk<'m, K, V> {
    chunks: &'m [Arc<Chunk<K, V>>],
    /// The place in the first chunk.
    at: usize,
}

impl<'m, K, V> Walk<'m, K, V> {
    fn of(map: &'m PersistentMap<K, V>) -> Self {
        Self {
            chunks: &map.chunks,
            at: 0,
        }
    }

    fn peek(&self) -> Option<(&'m K, &'m V)> {
        let (key, value) = &self.chunks.first()?[self.at];
        Some((key, value))
    }

    fn step(&mut self) {
        self.at += 1;
        if self.chunks[0].len() == self.at {
            self.chunks = &self.chunks[1..];
            self.at = 0;
        }
    }

    /// Steps over a chunk that both ways are at the beginning of.
    fn skip_shared(one: &mut Self, other: &mut Self) -> bool {
        let (Some(first), Some(second)) = (one.chunks.first(), other.chunks.first()) else {
            return false;
        };
        let is_shared = one.at == 0 && other.at == 0 && Arc::ptr_eq(first, second);
        if is_shared {
            one.chunks = &one.chunks[1..];
            other.chunks = &other.chunks[1..];
        }
        is_shared
    }
}

impl<K, V> Default for PersistentMap<K, V> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<K: fmt::Debug + Ord + Clone, V: fmt::Debug + Clone> fmt::Debug for PersistentMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Clone, V: PartialEq + Clone> PartialEq for PersistentMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let mut differences = self.since(other).into_iter();
        self.len == other.len && differences.all(|(_, before, now)| before == now)
    }
}

impl<K: Ord + Clone, V: Clone> Extend<(K, V)> for PersistentMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for PersistentMap<K, V> {
    /// The last one wins where two have the same key.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut sorted: Vec<(K, V)> = entries.into_iter().collect();
        sorted.reverse();
        sorted.sort_by(|(key, _), (other, _)| key.cmp(other));
        sorted.dedup_by(|(later, _), (kept, _)| later == kept);
        let len = sorted.len();
        let mut chunks = Vec::with_capacity(len.div_ceil(CHUNK_MAX));
        let mut rest = sorted.into_iter();
        loop {
            let mut chunk = Vec::with_capacity(rest.len().min(CHUNK_MAX));
            chunk.extend(rest.by_ref().take(CHUNK_MAX));
            if chunk.is_empty() {
                return Self { chunks, len };
            }
            chunks.push(Arc::new(chunk));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Both = (PersistentMap<u16, u8>, BTreeMap<u16, u8>);

    fn changes(len: usize) -> impl Strategy<Value = Vec<(u16, Option<u8>)>> {
        prop::collection::vec((0_u16..500, any::<Option<u8>>()), 0..len)
    }

    fn change((map, tree): &mut Both, changes: Vec<(u16, Option<u8>)>) {
        for (key, value) in changes {
            match value {
                Some(value) => assert_eq!(map.insert(key, value), tree.insert(key, value)),
                None => assert_eq!(map.remove(&key), tree.remove(&key)),
            }
        }
    }

    fn assert_same((map, tree): &Both) {
        assert!(map.iter().eq(tree.iter()));
        assert_eq!((map.len(), map.is_empty()), (tree.len(), tree.is_empty()));
        for key in [0, 1, 77, 250, 499, 500] {
            assert_eq!(map.get(&key), tree.get(&key));
            assert!(map.range_from(&key).eq(tree.range(key..)));
        }
        assert!(
            map.chunks
                .iter()
                .all(|chunk| (1..=CHUNK_MAX).contains(&chunk.len()))
        );
    }

    proptest! {
        #[test]
        fn it_holds_what_an_ordered_map_holds(first in changes(900), more in changes(900)) {
            let mut both = Both::default();
            change(&mut both, first);
            assert_same(&both);
            let (copy, tree) = both.clone();
            change(&mut both, more);
            assert_same(&both);
            assert_same(&(copy, tree));
        }

        #[test]
        fn two_versions_differ_in_what_was_changed(first in changes(900), more in changes(30)) {
            let mut both = Both::default();
            change(&mut both, first);
            let (older, old_tree) = both.clone();
            change(&mut both, more);
            let (newer, new_tree) = both;
            let found = newer.since(&older).into_iter().filter(|(_, before, now)| before != now);
            let keys = old_tree.keys().chain(new_tree.keys());
            let keys: std::collections::BTreeSet<_> = keys.collect();
            let all = keys.into_iter().map(|key| (key, old_tree.get(key), new_tree.get(key)));
            prop_assert!(found.eq(all.filter(|(_, before, now)| before != now)));
            prop_assert_eq!(newer == older, old_tree == new_tree);
        }

        #[test]
        fn the_last_of_equal_keys_wins(entries in prop::collection::vec((0_u16..300, any::<u8>()), 0..900)) {
            let both: Both = (entries.iter().copied().collect(), entries.into_iter().collect());
            assert_same(&both);
        }
    }

    #[test]
    fn one_change_is_found_without_going_through_the_rest() {
        let older: PersistentMap<u32, u32> = (0..100_000).map(|key| (key, key)).collect();
        let mut newer = older.clone();
        newer.insert(50_000, 1);
        newer.remove(&7);
        assert!(newer.since(&older).len() <= 2 * CHUNK_MAX);
    }
}

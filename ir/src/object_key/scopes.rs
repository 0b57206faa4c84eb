//! Scopes that are in memory already. Whether one is found here changes nothing but how much memory keys take.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use super::Scope;

/// Scopes that are kept, at most; keys of further ones have their own.
const SCOPES_MAX: usize = 16_384;

static SCOPES: LazyLock<RwLock<Scopes>> = LazyLock::new(RwLock::default);

/// The scopes by the hash of their words. Of two with the same hash only the first is kept.
#[derive(Default)]
struct Scopes {
    hasher: RandomState,
    by_hash: BTreeMap<u64, Arc<Scope>>,
}

/// The scope of these words: source, group, kind and namespace.
pub(super) fn shared(words: [&str; 4]) -> Arc<Scope> {
    let known = SCOPES.read().unwrap_or_else(PoisonError::into_inner);
    let hash = known.hasher.hash_one(words);
    let found = known.by_hash.get(&hash);
    if let Some(found) = found.filter(|scope| scope.words() == words) {
        return found.clone();
    }
    drop(known);
    let scope = Arc::new(Scope::of(words));
    let mut scopes = SCOPES.write().unwrap_or_else(PoisonError::into_inner);
    scopes.keep(hash, &scope);
    scope
}

impl Scopes {
    fn keep(&mut self, hash: u64, scope: &Arc<Scope>) {
        if self.by_hash.len() >= SCOPES_MAX {
            self.by_hash.retain(|_, scope| Arc::strong_count(scope) > 1);
        }
        if self.by_hash.len() < SCOPES_MAX {
            self.by_hash.entry(hash).or_insert_with(|| scope.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_that_nobody_has_make_room() {
        let mut scopes = Scopes::default();
        let used = Arc::new(Scope::of(["used", "", "", ""]));
        scopes.keep(0, &used);
        for number in 1..SCOPES_MAX as u64 * 3 {
            scopes.keep(number, &Arc::new(Scope::of(["", "", "", ""])));
            assert!(scopes.by_hash.len() <= SCOPES_MAX);
        }
        assert!(scopes.by_hash.contains_key(&0));
    }
}

//! Words that many keys have in common, kept in memory once: sources, groups, kinds and namespaces.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

/// Words that are kept, at most; further ones are each key's own.
const WORDS_MAX: usize = 8_192;

static WORDS: LazyLock<RwLock<HashSet<Arc<str>>>> = LazyLock::new(RwLock::default);

/// The word as others have it, so that comparing two keys with it need not look at its bytes.
pub(super) fn shared(word: &str) -> Arc<str> {
    let known = WORDS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(word) {
        return known.clone();
    }
    drop(known);
    let word: Arc<str> = word.into();
    let mut words = WORDS.write().unwrap_or_else(PoisonError::into_inner);
    if words.len() >= WORDS_MAX {
        words.retain(|word| Arc::strong_count(word) > 1);
    }
    if words.len() < WORDS_MAX {
        words.insert(word.clone());
    }
    word
}

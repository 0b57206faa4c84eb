//! Words of names: sharing them, and the order of names that consist of several.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use crate::Hostname;

/// Words that were seen, so that those of many parts lie in memory once.
#[derive(Debug, Default)]
pub struct Words {
    seen: HashSet<Arc<str>>,
}

impl Words {
    /// Puts the word that was seen first in the place of an equal one.
    pub(crate) fn share(&mut self, word: &mut Arc<str>) {
        match self.seen.get(word) {
            Some(seen) => word.clone_from(seen),
            None => drop(self.seen.insert(word.clone())),
        }
    }

    /// The same with the text of a hostname.
    pub(crate) fn share_hostname(&mut self, hostname: &mut Hostname) {
        match hostname {
            Hostname::Any => {}
            Hostname::Wildcard(text) | Hostname::Exact(text) => self.share(text),
        }
    }
}

/// Compares names word by word. Most words are shared, and then their bytes need not be looked at.
pub fn compare_words<const N: usize>(one: [&Arc<str>; N], other: [&Arc<str>; N]) -> Ordering {
    let pairs = one.into_iter().zip(other);
    let different = pairs.filter(|(one, other)| !Arc::ptr_eq(one, other));
    let mut orders = different.map(|(one, other)| one.cmp(other));
    orders
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_are_one_once_they_are_shared() {
        let mut words = Words::default();
        let [mut one, mut other] = ["shop", "shop"].map(Arc::<str>::from);
        words.share(&mut one);
        words.share(&mut other);
        assert!(Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn the_first_word_that_differs_decides_whether_words_are_shared_or_not() {
        let word = |text: &str| Arc::<str>::from(text);
        let (a, b, also_a) = (word("a"), word("b"), word("a"));
        assert_eq!(compare_words([&a, &b], [&a, &a]), Ordering::Greater);
        assert_eq!(compare_words([&a, &b], [&also_a, &b]), Ordering::Equal);
        assert_eq!(compare_words([&also_a, &b], [&b, &a]), Ordering::Less);
    }
}

//! Words of names that many parts have in common.

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
}

//! Objects that were checked when they came, kept until the publisher asks, so that it need not read them once more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tidegate_compiler::Checked;
use tidegate_store::ObjectKey;

/// Bytes of contents in one generation, at most. There are two, and what was read out of a content has a few times its size.
const GENERATION_BYTES_MAX: usize = 4 << 20;

/// The objects. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct CheckedObjects {
    generations: Arc<Mutex<Generations>>,
}

/// Whoever is not asked for in time goes with its generation: its batch was refused, or it came to another configd.
#[derive(Default)]
struct Generations {
    young: HashMap<ObjectKey, (Bytes, Checked)>,
    old: HashMap<ObjectKey, (Bytes, Checked)>,
    young_bytes: usize,
}

impl CheckedObjects {
    /// Keeps an object. Those that may not stay in memory in the clear must not come here.
    pub(crate) fn keep(&self, key: ObjectKey, content: Bytes, checked: Checked) {
        let mut all = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if all.young_bytes + content.len() > GENERATION_BYTES_MAX {
            let all = &mut *all;
            std::mem::swap(&mut all.young, &mut all.old);
            all.young.clear();
            all.young_bytes = 0;
        }
        all.young_bytes += content.len();
        all.young.insert(key, (content, checked));
    }

    /// The object with exactly this content, if it was kept and nobody has taken it.
    pub(crate) fn take(&self, key: &ObjectKey, content: &[u8]) -> Option<Checked> {
        let mut all = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let kept = all.young.remove(key).or_else(|| all.old.remove(key));
        let (_, checked) = kept.filter(|(kept, _)| **kept == *content)?;
        Some(checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("s", "", "Other", "n", name)
    }

    fn checked() -> Checked {
        tidegate_compiler::check("", "Other", b"").expect("its kind is not read")
    }

    #[test]
    fn an_object_is_there_once_and_for_its_own_content_only() {
        let objects = CheckedObjects::default();
        objects.keep(key("a"), Bytes::from_static(b"one"), checked());
        assert!(objects.take(&key("a"), b"one").is_some());
        assert!(objects.take(&key("a"), b"one").is_none());
        objects.keep(key("a"), Bytes::from_static(b"two"), checked());
        assert!(objects.take(&key("a"), b"one").is_none());
    }

    #[test]
    fn objects_that_nobody_asks_for_are_bounded() {
        let objects = CheckedObjects::default();
        let content = Bytes::from(vec![0; GENERATION_BYTES_MAX / 8]);
        for index in 0..100 {
            objects.keep(key(&index.to_string()), content.clone(), checked());
        }
        let all = objects.generations.lock().expect("nobody panicked");
        assert!(all.young.len() <= 8 && all.old.len() <= 8);
        assert!(all.young.contains_key(&key("99")));
    }
}

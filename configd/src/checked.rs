//! Objects that were checked when they came, kept until the publisher asks, so that it need not read them once more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_compiler::Checked;
use tidegate_store::ObjectKey;

/// Bytes of contents that are kept, at most; what was read out of a content has a few times its size. Of more the publisher
/// reads again what it did not find: throwing away what is here costs more than that.
const BYTES_MAX: usize = 8 << 20;

/// How long an object that nobody asks for is kept, at least; twice that at most.
const KEPT_TIME: Duration = Duration::from_secs(1);

/// The objects. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct CheckedObjects(Arc<Mutex<Kept>>);

/// Whoever is not asked for in time goes with its generation: its batch was refused, or it came again with another content.
#[derive(Default)]
struct Kept {
    young: Generation,
    old: Generation,
    young_since: Option<Instant>,
}

#[derive(Default)]
struct Generation {
    objects: HashMap<ObjectKey, (Bytes, Checked)>,
    bytes: usize,
}

impl CheckedObjects {
    /// Keeps an object if there is room. Those that may not stay in memory in the clear must not come here.
    pub(crate) fn keep(&self, key: ObjectKey, content: Bytes, checked: Checked) {
        let mut kept = self.lock();
        if kept.young.bytes + kept.old.bytes + content.len() <= BYTES_MAX {
            kept.young.insert(key, content, checked);
        }
    }

    /// The object with exactly this content, if it was kept and nobody has taken it.
    pub(crate) fn take(&self, key: &ObjectKey, content: &[u8]) -> Option<Checked> {
        let mut kept = self.lock();
        let found = kept.young.remove(key).or_else(|| kept.old.remove(key));
        drop(kept);
        let (own, checked) = found?;
        (*own == *content).then_some(checked)
    }

    /// Lets go of what nobody has asked for in time; to be called now and then.
    pub(crate) fn renew(&self, now: Instant) {
        let mut kept = self.lock();
        let since = *kept.young_since.get_or_insert(now);
        if now < since + KEPT_TIME {
            return;
        }
        kept.young_since = Some(now);
        let young = std::mem::take(&mut kept.young);
        let gone = std::mem::replace(&mut kept.old, young);
        drop(kept);
        drop(gone);
    }

    /// Lets go of everything.
    pub(crate) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generation {
    fn insert(&mut self, key: ObjectKey, content: Bytes, checked: Checked) {
        self.bytes += content.len();
        if let Some((replaced, _)) = self.objects.insert(key, (content, checked)) {
            self.bytes -= replaced.len();
        }
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<(Bytes, Checked)> {
        let found = self.objects.remove(key)?;
        self.bytes -= found.0.len();
        Some(found)
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
    fn objects_that_nobody_asks_for_are_bounded_until_they_go() {
        let (objects, now) = (CheckedObjects::default(), Instant::now());
        let content = Bytes::from(vec![0; BYTES_MAX / 8]);
        let keep_many = || {
            for index in 0..100 {
                objects.keep(key(&index.to_string()), content.clone(), checked());
            }
        };
        let left = || {
            let kept = objects.lock();
            kept.young.objects.len() + kept.old.objects.len()
        };
        objects.renew(now);
        keep_many();
        assert_eq!(left(), 8);
        objects.renew(now + KEPT_TIME / 2);
        objects.renew(now + KEPT_TIME);
        assert_eq!(left(), 8, "whoever came last is asked for in a moment");
        objects.renew(now + 2 * KEPT_TIME);
        assert_eq!(left(), 0);
        keep_many();
        assert_eq!(left(), 8);
        objects.clear();
        assert_eq!(left(), 0);
    }

    #[test]
    fn what_is_taken_or_replaced_makes_room() {
        let objects = CheckedObjects::default();
        let content = Bytes::from(vec![0; BYTES_MAX / 2]);
        for _ in 0..10 {
            objects.keep(key("a"), content.clone(), checked());
        }
        for name in ["b", "c", "d"] {
            objects.keep(key(name), content.clone(), checked());
            assert!(objects.take(&key(name), &content).is_some());
        }
        assert!(objects.take(&key("a"), &content).is_some());
    }
}

//! A map that several tasks read: each hears which keys have changed since it looked last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::key::{GroupKind, ObjectKey};

/// The map; clones share it.
#[derive(Debug)]
pub(crate) struct Table<V> {
    shared: Arc<Mutex<Shared<V>>>,
}

#[derive(Debug)]
struct Shared<V> {
    values: BTreeMap<ObjectKey, Arc<V>>,
    readers: Vec<Weak<Unread>>,
}

/// What a reader has not looked at. It holds each key once, so it is never larger than the table was.
#[derive(Debug, Default)]
struct Unread {
    keys: Mutex<BTreeSet<ObjectKey>>,
    wake: Notify,
}

/// A reader's view of the changes.
#[derive(Debug)]
pub(crate) struct Changes(Arc<Unread>);

impl<V> Clone for Table<V> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        let shared = Shared {
            values: BTreeMap::new(),
            readers: Vec::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }
}

/// A task that panicked while it held a lock leaves maps that are whole: each step is one insertion.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V> Table<V> {
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<V>> {
        lock(&self.shared).values.get(key).cloned()
    }

    /// Everything, ordered by key.
    pub(crate) fn all(&self) -> Vec<(ObjectKey, Arc<V>)> {
        let shared = lock(&self.shared);
        let values = shared.values.iter();
        values
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Everything of one kind, ordered by key.
    pub(crate) fn of_kind(&self, group: &str, kind: &str) -> Vec<(ObjectKey, Arc<V>)> {
        let first = ObjectKey::new(group, kind, "", "");
        let shared = lock(&self.shared);
        let values = shared.values.range(first..);
        values
            .take_while(|(key, _)| key.is(group, kind))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Sets a value, or takes it out, and tells the readers.
    pub(crate) fn set(&self, key: &ObjectKey, value: Option<Arc<V>>) {
        let mut shared = lock(&self.shared);
        match value {
            Some(value) => drop(shared.values.insert(key.clone(), value)),
            None => drop(shared.values.remove(key)),
        }
        shared.tell(std::slice::from_ref(key));
    }

    /// Takes out what is of a kind and not among these.
    pub(crate) fn retain_of_kind(&self, kind: &GroupKind, keep: &BTreeSet<ObjectKey>) {
        let (group, name) = (&kind.0, &kind.1);
        let gone = self.of_kind(group, name).into_iter();
        for (key, _) in gone.filter(|(key, _)| !keep.contains(key)) {
            self.set(&key, None);
        }
    }

    /// A reader to whom everything that is there is new.
    pub(crate) fn subscribe(&self) -> Changes {
        let mut shared = lock(&self.shared);
        let unread = Arc::new(Unread::default());
        unread.add(shared.values.keys());
        shared.readers.push(Arc::downgrade(&unread));
        Changes(unread)
    }
}

impl<V> Shared<V> {
    fn tell(&mut self, keys: &[ObjectKey]) {
        self.readers.retain(|reader| match reader.upgrade() {
            Some(reader) => {
                reader.add(keys);
                true
            }
            None => false,
        });
    }
}

impl Unread {
    fn add<'k>(&self, keys: impl IntoIterator<Item = &'k ObjectKey>) {
        lock(&self.keys).extend(keys.into_iter().cloned());
        self.wake.notify_one();
    }
}

impl Changes {
    /// The keys that changed since the last call; waits until there is one.
    pub(crate) async fn next(&self) -> BTreeSet<ObjectKey> {
        loop {
            let keys = self.take();
            if !keys.is_empty() {
                return keys;
            }
            self.0.wake.notified().await;
        }
    }

    /// The keys that changed since the last call, which may be none.
    pub(crate) fn take(&self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut *lock(&self.0.keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("", "Service", "shop", name)
    }

    #[tokio::test]
    async fn a_reader_hears_of_each_key_once_however_often_it_changed() {
        let table = Table::default();
        table.set(&key("before"), Some(Arc::new(1)));
        let changes = table.subscribe();
        assert_eq!(changes.next().await, BTreeSet::from([key("before")]));
        for value in 0..3 {
            table.set(&key("cart"), Some(Arc::new(value)));
        }
        table.set(&key("before"), None);
        let expected = BTreeSet::from([key("before"), key("cart")]);
        assert_eq!(changes.next().await, expected);
        assert!(changes.take().is_empty());
    }

    #[test]
    fn what_a_new_list_lacks_is_gone() {
        let table = Table::default();
        for name in ["a", "b", "c"] {
            table.set(&key(name), Some(Arc::new(())));
        }
        let pod = ObjectKey::new("", "Pod", "shop", "p");
        table.set(&pod, Some(Arc::new(())));
        table.retain_of_kind(&key("b").group_kind(), &BTreeSet::from([key("b")]));
        let left: Vec<_> = table.all().into_iter().map(|(key, _)| key).collect();
        assert_eq!(left, [pod, key("b")]);
    }
}

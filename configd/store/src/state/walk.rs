//! Going through objects in the order of their keys: who follows the one before is a step away, and needs no search.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;
use std::sync::Arc;

use crate::key::{ObjectKey, StoredObject};

type Objects = BTreeMap<ObjectKey, Arc<StoredObject>>;

/// Finds objects whose keys come in order.
pub(super) struct Walk<'o> {
    objects: &'o Objects,
    /// What comes behind the key before; nothing between the two is left out.
    ahead: Peekable<Range<'o, ObjectKey, Arc<StoredObject>>>,
}

impl<'o> Walk<'o> {
    pub(super) fn new(objects: &'o Objects) -> Self {
        let ahead = objects.range(..).peekable();
        Self { objects, ahead }
    }

    /// The object of a key that is above all keys before.
    pub(super) fn find(&mut self, key: &ObjectKey) -> Option<&'o Arc<StoredObject>> {
        if self.ahead.peek().is_some_and(|(next, _)| *next < key) {
            self.ahead = self.objects.range(key..).peekable();
        }
        let found = self.ahead.next_if(|(next, _)| *next == key);
        found.map(|(_, object)| object)
    }
}

/// Puts objects where others of their keys are; in the order of the keys that is quicker.
pub(super) fn replace(objects: &mut Objects, by: impl IntoIterator<Item = Arc<StoredObject>>) {
    let mut ahead = objects.range_mut(..);
    for object in by {
        let next = ahead.next().filter(|(key, _)| **key == object.key);
        let (_, place) = match next {
            Some(next) => next,
            None => {
                ahead = objects.range_mut(&object.key..);
                let found = ahead.next().filter(|(key, _)| **key == object.key);
                found.expect("it replaces one")
            }
        };
        *place = object;
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::objects::v1::Object;

    use super::*;

    fn key(name: u32) -> ObjectKey {
        ObjectKey::new("s", "", "Service", "n", &format!("{name:05}"))
    }

    fn object(name: u32, revision: u64) -> Arc<StoredObject> {
        Arc::new(StoredObject::new(key(name), &Object::default(), revision))
    }

    fn objects(names: impl Iterator<Item = u32>) -> Objects {
        names.map(|name| (key(name), object(name, 1))).collect()
    }

    #[test]
    fn all_that_are_there_are_found_and_no_others() {
        let there = objects((0..900).filter(|name| name % 3 != 1));
        for step in [1, 2, 7, 100, 899] {
            let mut walk = Walk::new(&there);
            for name in (0..1000).step_by(step) {
                let found = walk.find(&key(name)).map(|object| object.key.clone());
                let is_there = name < 900 && name % 3 != 1;
                assert_eq!(found, is_there.then(|| key(name)));
            }
        }
    }

    #[test]
    fn those_that_are_replaced_are_others_and_the_rest_stays() {
        for step in [1, 2, 7, 100, 899] {
            let mut there = objects(0..900);
            replace(
                &mut there,
                (0..900).step_by(step).map(|name| object(name, 2)),
            );
            for (name, object) in (0..).zip(there.values()) {
                assert_eq!(object.key, key(name));
                assert_eq!(object.revision == 2, (name as usize).is_multiple_of(step));
            }
        }
    }
}

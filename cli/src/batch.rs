//! Changes of objects as configd takes them, cut into batches within its bounds.

use tidegate_proto::objects::v1::operation::Operation as Change;
use tidegate_proto::objects::v1::{Object, ObjectKey, Operation};

use crate::desired::DesiredObject;
use crate::source::object::FileKey;

/// Most changes in one batch; configd's bound.
const OPERATIONS_MAX: usize = 20_000;
/// Most bytes in one batch; configd's bound is 16 MiB with the framing.
const BATCH_LEN_MAX: usize = 15 << 20;
/// What a change takes at most besides its object's content, in bytes.
const FRAMING_LEN: usize = 1_024;

/// Stores an object, whatever was there before.
pub(crate) fn put(source: &str, key: &FileKey, desired: &DesiredObject) -> Operation {
    Operation {
        operation: Some(Change::Put(object(source, key, desired))),
        precondition: None,
    }
}

/// Removes an object.
pub(crate) fn delete(source: &str, key: &FileKey) -> Operation {
    Operation {
        operation: Some(Change::Delete(object_key(source, key))),
        precondition: None,
    }
}

/// An object of a source.
pub(crate) fn object(source: &str, key: &FileKey, desired: &DesiredObject) -> Object {
    Object {
        key: Some(object_key(source, key)),
        uid: desired.uid.clone(),
        generation: desired.generation,
        created_at_unix_s: desired.created_at_unix_s,
        content: desired.content.clone(),
    }
}

/// Changes in their order, in as few batches as configd takes.
pub(crate) fn batches(changes: impl Iterator<Item = Operation>) -> Vec<Vec<Operation>> {
    let mut batches: Vec<Vec<Operation>> = Vec::new();
    let mut len = 0;
    for change in changes {
        let change_len = content_len(&change) + FRAMING_LEN;
        match batches.last_mut() {
            Some(batch) if batch.len() < OPERATIONS_MAX && len + change_len <= BATCH_LEN_MAX => {
                len += change_len;
                batch.push(change);
            }
            _ => {
                len = change_len;
                batches.push(vec![change]);
            }
        }
    }
    batches
}

fn content_len(change: &Operation) -> usize {
    match &change.operation {
        Some(Change::Put(object)) => object.content.len(),
        Some(Change::Delete(_)) | None => 0,
    }
}

fn object_key(source: &str, key: &FileKey) -> ObjectKey {
    ObjectKey {
        source: source.to_owned(),
        group: key.group.clone(),
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deletes(count: usize) -> Vec<Vec<Operation>> {
        let key = FileKey {
            group: String::new(),
            kind: "Service".to_owned(),
            namespace: "shop".to_owned(),
            name: "cart".to_owned(),
        };
        batches((0..count).map(|_| delete("files", &key)))
    }

    #[test]
    fn no_batch_is_larger_than_configd_takes() {
        assert!(deletes(0).is_empty());
        // 15 MiB hold fewer changes than their number may be.
        let most = BATCH_LEN_MAX / FRAMING_LEN;
        assert_eq!(deletes(most).len(), 1);
        let sizes: Vec<_> = deletes(most + 1).iter().map(Vec::len).collect();
        assert_eq!(sizes, [most, 1]);
    }
}

//! Objects and changes as configd takes them, within its bounds.

use std::sync::Arc;

use tidegate_proto::objects::v1::operation::Operation as Change;
use tidegate_proto::objects::v1::{Object, Operation};

use crate::cluster::Observed;
use crate::key::ObjectKey;

/// Most changes in one batch; configd's bound is 20,000.
const CHANGES_MAX: usize = 10_000;
/// Most bytes in one batch; configd's bound is 16 MiB with the framing.
const BATCH_LEN_MAX: usize = 12 << 20;
/// Most bytes in one message of a full set; configd's bound is 4 MiB with the framing.
const MESSAGE_LEN_MAX: usize = 3 << 20;
/// What an object takes at most besides its content, in bytes.
const FRAMING_LEN: usize = 1_024;

/// What an object should be at configd; `None` for not there.
pub(super) type Wanted = (ObjectKey, Option<Arc<Observed>>);

/// An object as configd takes it.
pub(super) fn object(source: &str, key: &ObjectKey, observed: &Observed) -> Object {
    Object {
        key: Some(key.wire(source)),
        uid: observed.uid.clone(),
        generation: observed.generation,
        created_at_unix_s: observed.created_at_unix_s,
        content: observed.content.clone(),
    }
}

/// A change as configd takes it.
pub(super) fn operation(source: &str, (key, wanted): &Wanted) -> Operation {
    let operation = match wanted {
        Some(observed) => Change::Put(object(source, key, observed)),
        None => Change::Delete(key.wire(source)),
    };
    Operation {
        operation: Some(operation),
        precondition: None,
    }
}

/// Changes in as few batches as configd takes. What comes goes before what leaves, so that nothing is missing in
/// between.
pub(super) fn batches(mut changes: Vec<Wanted>) -> Vec<Vec<Wanted>> {
    changes.sort_by_key(|(_, wanted)| wanted.is_none());
    let len = |(_, wanted): &Wanted| wanted.as_ref().map_or(0, |object| object.content.len());
    cut(changes, len, BATCH_LEN_MAX, CHANGES_MAX)
}

/// The objects of a full set in as few messages as configd takes; at least one.
pub(super) fn messages(objects: Vec<Object>) -> Vec<Vec<Object>> {
    let len = |object: &Object| object.content.len();
    let mut messages = cut(objects, len, MESSAGE_LEN_MAX, usize::MAX);
    if messages.is_empty() {
        messages.push(vec![]);
    }
    messages
}

fn cut<T>(
    items: Vec<T>,
    len: impl Fn(&T) -> usize,
    len_max: usize,
    count_max: usize,
) -> Vec<Vec<T>> {
    let mut pieces: Vec<Vec<T>> = Vec::new();
    let mut piece_len = 0;
    for item in items {
        let item_len = len(&item) + FRAMING_LEN;
        match pieces.last_mut() {
            Some(piece) if piece.len() < count_max && piece_len + item_len <= len_max => {
                piece_len += item_len;
                piece.push(item);
            }
            _ => {
                piece_len = item_len;
                pieces.push(vec![item]);
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_piece_is_larger_than_its_bounds_and_nothing_is_lost() {
        let pieces = |count: usize| cut((0..count).collect(), |_| 0, 10 * FRAMING_LEN, 8);
        let sizes: Vec<usize> = pieces(20).iter().map(Vec::len).collect();
        assert_eq!(sizes, [8, 8, 4]);
        assert_eq!(pieces(20).concat(), (0..20).collect::<Vec<_>>());
        let by_len = cut(
            vec![3, 3, 100, 3],
            |len| len * FRAMING_LEN,
            10 * FRAMING_LEN,
            8,
        );
        assert_eq!(by_len, [vec![3, 3], vec![100], vec![3]]);
    }
}

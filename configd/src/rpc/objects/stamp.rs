//! Fills in the source of what an operator sends: it is the one in its certificate.

use tidegate_proto::objects::v1::operation::Operation;
use tidegate_proto::objects::v1::{ApplyRequest, ObjectKey, ResyncRequest};

use crate::access::Refusal;
use crate::caller::Caller;

/// The source of a batch, and of its keys where the batch leaves it out.
pub(super) fn batch(request: &mut ApplyRequest, caller: &Caller) -> Result<(), Refusal> {
    let source = caller.source(&request.source)?;
    if source != request.source {
        for operation in &mut request.operations {
            stamp(key(&mut operation.operation), &source);
        }
        request.source = source;
    }
    Ok(())
}

/// The source of a piece of a set, and of its keys where the piece leaves it out.
pub(super) fn set(request: &mut ResyncRequest, caller: &Caller) -> Result<(), Refusal> {
    let source = caller.source(&request.source)?;
    if source != request.source {
        for object in &mut request.objects {
            stamp(object.key.as_mut(), &source);
        }
        request.source = source;
    }
    Ok(())
}

fn key(operation: &mut Option<Operation>) -> Option<&mut ObjectKey> {
    match operation {
        Some(Operation::Put(object)) => object.key.as_mut(),
        Some(Operation::Delete(key)) => Some(key),
        None => None,
    }
}

/// A key that names another source keeps it, and is refused with the batch's other mistakes.
fn stamp(key: Option<&mut ObjectKey>, source: &str) {
    if let Some(key) = key.filter(|key| key.source.is_empty()) {
        key.source = source.to_owned();
    }
}

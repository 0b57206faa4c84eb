//! How objects and codes are named in messages.

use tidegate_proto::objects::v1 as wire;
use tonic::Code;

/// "HTTPRoute shop/cart", or "GatewayClass standard" for a cluster-scoped object: as an [`ObjectKey`](tidegate_store::ObjectKey) is shown,
/// for a key as it stands in a request.
pub(crate) fn of_wire(key: &wire::ObjectKey) -> String {
    let wire::ObjectKey {
        kind,
        namespace,
        name,
        ..
    } = key;
    match namespace.is_empty() {
        true => format!("{kind} {name}"),
        false => format!("{kind} {namespace}/{name}"),
    }
}

/// "put HTTPRoute shop/cart", or "delete …".
pub(crate) fn of_operation(operation: &wire::Operation) -> String {
    match &operation.operation {
        Some(wire::operation::Operation::Put(object)) => {
            let key = object.key.as_ref();
            format!("put {}", key.map(of_wire).unwrap_or_default())
        }
        Some(wire::operation::Operation::Delete(key)) => format!("delete {}", of_wire(key)),
        None => "nothing".to_owned(),
    }
}

/// `PermissionDenied` becomes `PERMISSION_DENIED`.
pub(crate) fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

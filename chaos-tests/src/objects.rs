//! The objects that are written: a Gateway, and routes and maps that change.

use serde_json::{Value, json};
use tidegate_proto::objects::v1::{Object, ObjectKey, Operation, Precondition, operation};

/// The source of all of them.
pub const SOURCE: &str = "chaos";
/// The pool that serves the Gateway.
pub const POOL: &str = "chaos";
const NAMESPACE: &str = "chaos";

/// A GatewayClass and a Gateway with one listener.
#[must_use]
pub fn gateway(port: u16) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "tidegate"},
            "spec": {"controllerName": "tidegate.dev/gateway-controller"},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "web", "namespace": NAMESPACE},
            "spec": {"gatewayClassName": "tidegate",
                "listeners": [{"name": "http", "port": port, "protocol": "HTTP"}]},
        }),
    ]
}

/// A route that answers `path` with a redirect, so that no backend is needed.
#[must_use]
pub fn route(name: &str, path: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "parentRefs": [{"name": "web"}],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": "chaos.test", "statusCode": 302}}],
            }],
        },
    })
}

/// An object that no snapshot contains.
#[must_use]
pub fn map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"value": value},
    })
}

/// The key of an object.
#[must_use]
pub fn key(object: &Value) -> ObjectKey {
    let text = |pointer| {
        let value = object.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let version = text("/apiVersion");
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    ObjectKey {
        source: SOURCE.to_owned(),
        group: group.to_owned(),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    }
}

/// Stores an object.
#[must_use]
pub fn put(object: &Value, precondition: Option<Precondition>) -> Operation {
    let put = Object {
        key: Some(key(object)),
        generation: 1,
        content: object.to_string().into(),
        ..Object::default()
    };
    Operation {
        operation: Some(operation::Operation::Put(put)),
        precondition,
    }
}

/// Removes an object.
#[must_use]
pub fn delete(object: &Value) -> Operation {
    Operation {
        operation: Some(operation::Operation::Delete(key(object))),
        precondition: None,
    }
}

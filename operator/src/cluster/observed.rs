//! An object of the cluster, cut down to what configd and the operator need of it.

use bytes::Bytes;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Map, Value, json};

use crate::key::ObjectKey;
use crate::kinds::{EXPERIMENTAL_GROUP, GATEWAY_GROUP, OWN_GROUP};

/// An object of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observed {
    pub(crate) uid: String,
    /// 0 where the kind has none.
    pub(crate) generation: i64,
    pub(crate) created_at_unix_s: i64,
    pub(crate) resource_version: String,
    /// Whether it is about to go.
    pub(crate) is_deleting: bool,
    /// What configd gets: JSON without status and what changes without meaning anything.
    pub(crate) content: Bytes,
    /// The whole object, of kinds into which the operator looks itself; else null.
    pub(crate) whole: Value,
}

impl Observed {
    /// Reads an object; `None` for one without a name, which no API server sends.
    pub(crate) fn new(resource: &ApiResource, object: DynamicObject) -> Option<(ObjectKey, Self)> {
        let meta = &object.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = meta.name.as_deref()?;
        let key = ObjectKey::new(&resource.group, &resource.kind, namespace, name);
        let created = meta.creation_timestamp.as_ref();
        let observed = Self {
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            created_at_unix_s: created.map_or(0, |time| time.0.as_second()),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            is_deleting: meta.deletion_timestamp.is_some(),
            content: Bytes::new(),
            whole: Value::Null,
        };
        let mut whole = whole(resource, object);
        let looked_into = is_looked_into(&key).then(|| whole.clone());
        trim(&key, &mut whole);
        let content = whole.to_string().into();
        let whole = looked_into.unwrap_or_default();
        let observed = Self {
            content,
            whole,
            ..observed
        };
        Some((key, observed))
    }

    /// Its status; null where it has none.
    pub(crate) fn status(&self) -> &Value {
        &self.whole["status"]
    }
}

fn whole(resource: &ApiResource, object: DynamicObject) -> Value {
    let DynamicObject { metadata, data, .. } = object;
    let mut fields = match data {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let mut metadata = serde_json::to_value(metadata).unwrap_or_default();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("managedFields");
    }
    // The items of a list do not say what they are.
    fields.insert("apiVersion".to_owned(), json!(resource.api_version));
    fields.insert("kind".to_owned(), json!(resource.kind));
    fields.insert("metadata".to_owned(), metadata);
    Value::Object(fields)
}

/// Kinds whose status we write, or which decide what runs in the cluster.
fn is_looked_into(key: &ObjectKey) -> bool {
    match &*key.group {
        GATEWAY_GROUP | EXPERIMENTAL_GROUP | OWN_GROUP => true,
        "" => matches!(&*key.kind, "Service" | "Secret"),
        _ => false,
    }
}

/// Takes out what says nothing to configd, so that it does not count as a change.
fn trim(key: &ObjectKey, object: &mut Value) {
    let is_pod = key.is("", "Pod");
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for noise in ["managedFields", "resourceVersion", "selfLink", "finalizers"] {
            metadata.remove(noise);
        }
        match metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            // Those of Pods, slices and Secrets belong to other controllers, and change often.
            Some(_) if &*key.group != GATEWAY_GROUP && &*key.group != OWN_GROUP => {
                metadata.remove("annotations");
            }
            Some(annotations) => {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
            None => {}
        }
    }
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let status = fields.remove("status");
    if is_pod {
        let status = status.unwrap_or_default();
        fields.remove("spec");
        fields.insert("status".to_owned(), pod_status(&status));
    }
}

/// A Pod is an address that is ready or not.
fn pod_status(status: &Value) -> Value {
    let conditions = status["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|one| one["type"] == "Ready"));
    let ready = ready.map(|ready| json!([{"type": "Ready", "status": ready["status"]}]));
    json!({
        "podIPs": status.get("podIPs").cloned().unwrap_or_else(|| json!([])),
        "conditions": ready.unwrap_or_else(|| json!([])),
    })
}

#[cfg(test)]
mod tests {
    use kube::core::GroupVersionKind;

    use super::*;

    fn observe(group: &str, kind: &str, object: Value) -> (ObjectKey, Observed) {
        let kind = GroupVersionKind::gvk(group, "v1", kind);
        let object = serde_json::from_value(object).expect("it is an object");
        Observed::new(&ApiResource::from_gvk(&kind), object).expect("it has a name")
    }

    fn content(observed: &Observed) -> Value {
        serde_json::from_slice(&observed.content).expect("it is JSON")
    }

    #[test]
    fn a_status_that_changes_is_no_change_for_configd() {
        let gateway = |version: &str, status: Value| {
            json!({
                "metadata": {
                    "name": "web", "namespace": "infra", "resourceVersion": version,
                    "managedFields": [{"manager": "kubectl"}],
                    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"},
                },
                "spec": {"gatewayClassName": "tidegate"},
                "status": status,
            })
        };
        let (_, one) = observe(GATEWAY_GROUP, "Gateway", gateway("1", json!({})));
        let (_, two) = observe(GATEWAY_GROUP, "Gateway", gateway("2", json!({"a": 1})));
        assert_eq!(one.content, two.content);
        assert_eq!(two.status(), &json!({"a": 1}));
        let expected = json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "web", "namespace": "infra", "annotations": {"a": "b"}},
            "spec": {"gatewayClassName": "tidegate"},
        });
        assert_eq!(content(&one), expected);
    }

    #[test]
    fn a_pod_is_its_labels_addresses_and_readiness() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "shop", "labels": {"app": "cart"}, "annotations": {"x": "y"}},
            "spec": {"containers": [{"name": "c", "env": [{"name": "PASSWORD", "value": "secret"}]}]},
            "status": {
                "phase": "Running",
                "podIPs": [{"ip": "10.0.0.1"}],
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                ],
            },
        });
        let (_, observed) = observe("", "Pod", pod);
        let expected = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "shop", "labels": {"app": "cart"}},
            "status": {"podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "Ready", "status": "True"}]},
        });
        assert_eq!(content(&observed), expected);
        assert!(observed.whole.is_null());
    }
}

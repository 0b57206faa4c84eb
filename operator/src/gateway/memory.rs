//! What a Gateway was served with last, which the Service in front of its workers remembers: so it outlives every operator,
//! and goes with the Gateway.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::names;
use crate::cluster::{Mirror, Observed};
use crate::key::ObjectKey;

/// On the Service as the operator applies it, and on the Gateway as configd gets it: `{"own": …, "ofClass": …}`.
pub(crate) const LAST_PARAMETERS: &str = "tidegate.dev/last-parameters";

/// By which GatewayParameters a Gateway was served last; `None` where it was not.
pub(super) fn last_parameters(
    mirror: &Mirror,
    key: &ObjectKey,
    gateway: &Observed,
) -> Option<String> {
    let class = gateway.whole["spec"]["gatewayClassName"].as_str()?;
    let name = names::of_pool(&key.name, class);
    let service = ObjectKey::new("", "Service", &key.namespace, &name);
    let service = mirror.objects.get(&service)?;
    let owners = service.whole["metadata"]["ownerReferences"].as_array()?;
    // A younger Gateway of the same name has not been served.
    let is_its_own = owners.iter().any(|owner| owner["uid"] == *gateway.uid);
    let annotations = &service.whole["metadata"]["annotations"];
    let text = annotations[LAST_PARAMETERS].as_str()?;
    is_its_own.then(|| text.to_owned())
}

/// A Gateway as configd gets it: with what it was served with last, and never with what somebody has written there. What it
/// was sent with counts while its Service is away.
pub(crate) fn remembering(
    mirror: &Mirror,
    key: &ObjectKey,
    gateway: &Arc<Observed>,
    sent: Option<&Observed>,
) -> Arc<Observed> {
    let last = last_parameters(mirror, key, gateway).or_else(|| {
        let sent = sent.filter(|sent| sent.uid == gateway.uid)?;
        let sent: Value = serde_json::from_slice(&sent.content).ok()?;
        let annotation = sent["metadata"]["annotations"][LAST_PARAMETERS].as_str();
        annotation.map(str::to_owned)
    });
    let written = &gateway.whole["metadata"]["annotations"][LAST_PARAMETERS];
    if last.as_deref() == written.as_str() {
        return gateway.clone();
    }
    let Ok(mut content) = serde_json::from_slice::<Value>(&gateway.content) else {
        return gateway.clone();
    };
    match last {
        Some(last) => content["metadata"]["annotations"][LAST_PARAMETERS] = json!(last),
        None => {
            let annotations = content["metadata"]["annotations"].as_object_mut();
            annotations.and_then(|all| all.remove(LAST_PARAMETERS));
        }
    }
    Arc::new(Observed {
        content: Bytes::from(content.to_string()),
        ..Observed::clone(gateway)
    })
}

/// The Gateway that is sent with a part of an object, if that is its Service.
pub(crate) fn remembered_by(key: &ObjectKey, object: &Value) -> Option<ObjectKey> {
    let is_service = key.is("", "Service");
    is_service.then(|| names::gateway_of(key, object)).flatten()
}

#[cfg(test)]
mod tests {
    use kube::core::{ApiResource, GroupVersionKind};

    use super::*;
    use crate::kinds::GATEWAY_GROUP;

    fn observe(mirror: &Mirror, group: &str, kind: &str, object: Value) -> ObjectKey {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let object = serde_json::from_value(object).expect("it is an object");
        let (key, observed) = Observed::new(&kind, object).expect("it has a name");
        mirror.objects.set(&key, Some(Arc::new(observed)));
        key
    }

    fn gateway(annotations: Value) -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "infra", "uid": "g", "annotations": annotations},
            "spec": {"gatewayClassName": "tidegate"},
        })
    }

    fn service(uid: &str) -> Value {
        let owner = json!({"apiVersion": "v1", "kind": "Gateway", "name": "web", "uid": uid});
        json!({"metadata": {
            "name": "web-tidegate", "namespace": "infra", "ownerReferences": [owner],
            "annotations": {LAST_PARAMETERS: "{\"own\":{}}"},
        }})
    }

    /// The annotations that configd gets.
    fn sent(mirror: &Mirror, key: &ObjectKey) -> Value {
        let gateway = mirror.objects.get(key).expect("it is there");
        let sent = remembering(mirror, key, &gateway, None);
        let sent: Value = serde_json::from_slice(&sent.content).expect("it is JSON");
        sent["metadata"]["annotations"].clone()
    }

    #[test]
    fn a_gateway_is_sent_with_what_its_service_remembers() {
        let mirror = Mirror::new();
        let key = observe(
            &mirror,
            GATEWAY_GROUP,
            "Gateway",
            gateway(json!({"a": "b"})),
        );
        assert_eq!(sent(&mirror, &key), json!({"a": "b"}));
        observe(&mirror, "", "Service", service("g"));
        let both = json!({"a": "b", LAST_PARAMETERS: "{\"own\":{}}"});
        assert_eq!(sent(&mirror, &key), both);
        observe(&mirror, GATEWAY_GROUP, "Gateway", gateway(Value::Null));
        let one = json!({LAST_PARAMETERS: "{\"own\":{}}"});
        assert_eq!(sent(&mirror, &key), one);

        // Somebody deletes the Service, which comes back.
        let gateway = mirror.objects.get(&key).expect("it is there");
        let before = remembering(&mirror, &key, &gateway, None);
        let service = ObjectKey::new("", "Service", "infra", "web-tidegate");
        mirror.objects.set(&service, None);
        let after = remembering(&mirror, &key, &gateway, Some(&before));
        assert_eq!(after.content, before.content);
        assert_eq!(sent(&mirror, &key), Value::Null);
    }

    #[test]
    fn what_others_write_is_not_believed() {
        let mirror = Mirror::new();
        let forged = gateway(json!({LAST_PARAMETERS: "{}"}));
        let key = observe(&mirror, GATEWAY_GROUP, "Gateway", forged);
        assert_eq!(sent(&mirror, &key), json!({}));
        observe(&mirror, "", "Service", service("of an older one"));
        assert_eq!(sent(&mirror, &key), json!({}));
    }
}

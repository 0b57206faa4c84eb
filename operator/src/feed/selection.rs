//! Which objects configd gets: Secrets and ConfigMaps that something names, Pods that something selects, all others.
//!
//! A cluster's other Secrets are nobody's business outside of it, and most Pods are behind a Service already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::key::ObjectKey;
use crate::kinds::EXPERIMENTAL_GROUP;

/// Fields that name Secrets, if they do not say otherwise.
const SECRET_FIELDS: [&str; 2] = ["certificateRefs", "clientCertificateRef"];
/// Fields that name ConfigMaps and other authorities.
const AUTHORITY_FIELDS: [&str; 1] = ["caCertificateRefs"];

/// What the objects of the cluster name.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// What each object names.
    names: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// How many objects name each.
    named: BTreeMap<ObjectKey, usize>,
    /// The objects of each namespace that select Pods.
    selecting: BTreeMap<Arc<str>, BTreeSet<ObjectKey>>,
}

/// What has become of interest, or ceased to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Affected {
    pub(super) objects: BTreeSet<ObjectKey>,
    /// Namespaces whose Pods are.
    pub(super) namespaces: BTreeSet<Arc<str>>,
}

impl Selection {
    /// Takes in what an object says now; null for one that is gone.
    pub(super) fn look_at(&mut self, key: &ObjectKey, object: &Value) -> Affected {
        let mut names = BTreeSet::new();
        collect(key, &object["spec"], &mut names);
        let mut affected = Affected::default();
        let before = self.names.remove(key).unwrap_or_default();
        for name in names.difference(&before) {
            let count = self.named.entry(name.clone()).or_default();
            *count += 1;
            if *count == 1 {
                affected.objects.insert(name.clone());
            }
        }
        for name in before.difference(&names) {
            let Some(count) = self.named.get_mut(name) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                self.named.remove(name);
                affected.objects.insert(name.clone());
            }
        }
        if !names.is_empty() {
            self.names.insert(key.clone(), names);
        }
        if key.is(EXPERIMENTAL_GROUP, "XBackend") {
            affected.namespaces.extend(self.note_selector(key, object));
        }
        affected
    }

    /// Whether configd gets an object.
    pub(super) fn wants(&self, key: &ObjectKey) -> bool {
        match (&*key.group, &*key.kind) {
            ("", "Secret" | "ConfigMap") => self.named.contains_key(key),
            ("", "Pod") => self.selecting.contains_key(&key.namespace),
            _ => true,
        }
    }

    /// The namespace of the object, if its Pods are of interest now and were not before, or the reverse.
    fn note_selector(&mut self, key: &ObjectKey, object: &Value) -> Option<Arc<str>> {
        let selects = object["spec"].get("endpointSelector").is_some();
        let namespace = key.namespace.clone();
        let was_of_interest = self.selecting.contains_key(&namespace);
        let selectors = self.selecting.entry(namespace.clone()).or_default();
        if selects {
            selectors.insert(key.clone());
        } else {
            selectors.remove(key);
        }
        if selectors.is_empty() {
            self.selecting.remove(&namespace);
        }
        (self.selecting.contains_key(&namespace) != was_of_interest).then_some(namespace)
    }
}

/// The Secrets and ConfigMaps that a part of an object names, at whatever depth.
fn collect(of: &ObjectKey, part: &Value, names: &mut BTreeSet<ObjectKey>) {
    match part {
        Value::Array(items) => items.iter().for_each(|item| collect(of, item, names)),
        Value::Object(fields) => {
            for (field, value) in fields {
                let default = if SECRET_FIELDS.contains(&field.as_str()) {
                    "Secret"
                } else if AUTHORITY_FIELDS.contains(&field.as_str()) {
                    "ConfigMap"
                } else {
                    collect(of, value, names);
                    continue;
                };
                match value {
                    Value::Array(references) => {
                        names.extend(references.iter().filter_map(|one| named(of, one, default)));
                    }
                    one => names.extend(named(of, one, default)),
                }
            }
        }
        _ => {}
    }
}

fn named(of: &ObjectKey, reference: &Value, default_kind: &str) -> Option<ObjectKey> {
    let text = |field: &str| reference[field].as_str();
    let group = text("group").unwrap_or_default();
    let kind = text("kind").unwrap_or(default_kind);
    let namespace = text("namespace").unwrap_or(&of.namespace);
    let is_ours = group.is_empty() && matches!(kind, "Secret" | "ConfigMap");
    is_ours.then(|| ObjectKey::new(group, kind, namespace, text("name").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::GATEWAY_GROUP;

    fn gateway(name: &str) -> ObjectKey {
        ObjectKey::new(GATEWAY_GROUP, "Gateway", "infra", name)
    }

    fn secret(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new("", "Secret", namespace, name)
    }

    fn listener(name: &str) -> Value {
        json!({"spec": {"listeners": [{"tls": {"certificateRefs": [{"name": name}]}}]}})
    }

    #[test]
    fn secrets_are_wanted_while_something_names_them() {
        let mut selection = Selection::default();
        let cert = secret("infra", "cert");
        assert!(!selection.wants(&cert));
        let affected = selection.look_at(&gateway("one"), &listener("cert"));
        assert_eq!(affected.objects, BTreeSet::from([cert.clone()]));
        assert!(selection.wants(&cert));
        let again = selection.look_at(&gateway("two"), &listener("cert"));
        assert_eq!(again, Affected::default());
        selection.look_at(&gateway("one"), &Value::Null);
        assert!(selection.wants(&cert));
        let affected = selection.look_at(&gateway("two"), &listener("other"));
        let expected = BTreeSet::from([cert.clone(), secret("infra", "other")]);
        assert_eq!(affected.objects, expected);
        assert!(!selection.wants(&cert));
    }

    #[test]
    fn authorities_and_client_certificates_are_found_at_any_depth() {
        let mut selection = Selection::default();
        let spec = json!({"spec": {"tls": {
            "backend": {"clientCertificateRef": {"name": "client", "namespace": "pki"}},
            "frontend": {"default": {"validation": {"caCertificateRefs": [
                {"group": "", "kind": "ConfigMap", "name": "ca"},
                {"group": "certificates.k8s.io", "kind": "ClusterTrustBundle", "name": "all"},
            ]}}},
        }}});
        selection.look_at(&gateway("web"), &spec);
        assert!(selection.wants(&secret("pki", "client")));
        assert!(selection.wants(&ObjectKey::new("", "ConfigMap", "infra", "ca")));
        assert!(!selection.wants(&ObjectKey::new("", "ConfigMap", "infra", "all")));
    }
}

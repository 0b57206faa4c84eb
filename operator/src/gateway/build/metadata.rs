//! What all objects of a pool say of themselves (GEP-1762).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::gateway::names;

/// Labels, in their order.
type Texts = BTreeMap<String, String>;

/// Name, labels and owners.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gateway) struct Metadata {
    pub(in crate::gateway) namespace: String,
    pub(in crate::gateway) name: String,
    /// The GatewayClass.
    pub(in crate::gateway) class: String,
    /// The Gateways: whose objects these are. When the last of them goes, they go.
    pub(in crate::gateway) owners: Vec<Owner>,
    /// Labels that tell these objects from those of others. They never change, since a Deployment finds its Pods by them.
    pub(in crate::gateway) selector: Texts,
    /// `spec.infrastructure.labels`.
    pub(in crate::gateway) labels: Texts,
    /// `spec.infrastructure.annotations`.
    pub(in crate::gateway) annotations: Texts,
}

/// A Gateway that owns objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gateway) struct Owner {
    /// As the Gateway's kind is served.
    pub(in crate::gateway) api_version: String,
    pub(in crate::gateway) name: String,
    pub(in crate::gateway) uid: String,
}

/// The label of every worker, whosever it is; the chart's NetworkPolicy lets those to configd.
const WORKER: (&str, &str) = ("app.kubernetes.io/name", "tidegate-worker");

/// What a Gateway's own objects are told by.
pub(in crate::gateway) fn of_gateway(gateway: &str) -> Texts {
    let gateway = names::label_value(gateway);
    with_worker(names::GATEWAY_NAME_LABEL, gateway)
}

/// What shared workers are told by.
pub(in crate::gateway) fn of_shared_pool(class: &str) -> Texts {
    with_worker(names::POOL_LABEL, names::of_shared_pool(class))
}

fn with_worker(label: &str, value: String) -> Texts {
    let worker = (WORKER.0.to_owned(), WORKER.1.to_owned());
    Texts::from([(label.to_owned(), value), worker])
}

impl Metadata {
    /// All labels. What a Gateway says cannot take Pods out of their Service.
    pub(super) fn all_labels(&self) -> Texts {
        let mut labels = self.labels.clone();
        labels.extend(self.selector.clone());
        let own = [
            (names::CLASS_NAME_LABEL, names::label_value(&self.class)),
            (names::MANAGED_BY_LABEL, names::MANAGER.to_owned()),
        ];
        labels.extend(own.map(|(label, value)| (label.to_owned(), value)));
        labels
    }

    pub(super) fn json(&self) -> Value {
        // Of several owners none is the controller, of which there can be one.
        let is_controller = self.owners.len() == 1;
        let owners = self.owners.iter().map(|owner| {
            json!({
                "apiVersion": owner.api_version,
                "kind": "Gateway",
                "name": owner.name,
                "uid": owner.uid,
                "controller": is_controller,
                "blockOwnerDeletion": true,
            })
        });
        let mut metadata = json!({
            "name": self.name,
            "namespace": self.namespace,
            "labels": self.all_labels(),
            "ownerReferences": owners.collect::<Vec<_>>(),
        });
        if !self.annotations.is_empty() {
            metadata["annotations"] = json!(self.annotations);
        }
        metadata
    }
}

//! From a Gateway and its parameters to the objects that serve it; pure.

mod network;
mod pod;
mod scale;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::identity::WorkerIdentity;
use super::names;
use super::parameters::WorkerParameters;
use super::patch;

/// What a port is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Everything that counts for the objects of a Gateway.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pool {
    pub(super) namespace: String,
    /// The Gateway's name.
    pub(super) gateway: String,
    /// The Gateway's uid.
    pub(super) uid: String,
    /// As the Gateway's kind is served.
    pub(super) api_version: String,
    pub(super) class: String,
    /// Of the listeners, those of ListenerSets included.
    pub(super) ports: BTreeSet<(u16, Transport)>,
    /// `spec.infrastructure.labels`.
    pub(super) labels: BTreeMap<String, String>,
    /// `spec.infrastructure.annotations`.
    pub(super) annotations: BTreeMap<String, String>,
    /// The first IP address that the Gateway asks for.
    pub(super) asked_address: Option<String>,
    pub(super) parameters: WorkerParameters,
    /// `None` where configd is reached without certificates.
    pub(super) identity: Option<WorkerIdentity>,
    /// The image of the workers, unless the parameters say otherwise.
    pub(super) image: String,
    /// Where workers find configd.
    pub(super) configd: String,
}

impl Pool {
    /// The name of all its objects.
    pub(super) fn name(&self) -> String {
        names::of_pool(&self.gateway, &self.class)
    }

    /// What configd calls it: each Gateway is a pool of its own.
    fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.gateway)
    }

    /// Labels by which its Pods are found. They never change, since those of a Deployment must not.
    fn selector(&self) -> Value {
        json!({
            names::GATEWAY_NAME_LABEL: names::label_value(&self.gateway),
            "app.kubernetes.io/name": "tidegate-worker",
        })
    }

    fn all_labels(&self) -> Value {
        let mut labels = json!(self.labels);
        patch::merge(&mut labels, &self.selector());
        labels[names::CLASS_NAME_LABEL] = json!(names::label_value(&self.class));
        labels[names::MANAGED_BY_LABEL] = json!(names::MANAGER);
        labels
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({
            "name": self.name(),
            "namespace": self.namespace,
            "labels": self.all_labels(),
            "ownerReferences": [{
                "apiVersion": self.api_version,
                "kind": "Gateway",
                "name": self.gateway,
                "uid": self.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        });
        if !self.annotations.is_empty() {
            metadata["annotations"] = json!(self.annotations);
        }
        metadata
    }
}

/// The objects of a pool, in the order in which they are applied. A kind that is not wanted is not among them.
pub(super) fn build(pool: &Pool) -> Vec<Value> {
    let mut objects = vec![service_account(pool)];
    objects.extend(identity(pool));
    objects.extend(network::service(pool));
    objects.extend(network::policy(pool));
    objects.push(pod::deployment(pool));
    objects.push(scale::disruption_budget(pool));
    objects.extend(scale::autoscaler(pool));
    for object in &mut objects {
        let kind = object["kind"].clone();
        let patches = pool.parameters.patches.iter();
        for change in patches.filter(|change| kind == *change.kind) {
            patch::merge(object, &change.merge);
        }
    }
    objects
}

/// Workers ask the API server for nothing.
fn service_account(pool: &Pool) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": pool.metadata(),
        "automountServiceAccountToken": false,
    })
}

fn identity(pool: &Pool) -> Option<Value> {
    let identity = pool.identity.as_ref()?;
    Some(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": pool.metadata(),
        "type": "kubernetes.io/tls",
        "data": identity.data(),
    }))
}

/// What is not set is left out, so that others may set it.
fn without_nulls(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        let fields = fields.values_mut();
        fields.for_each(|value| *value = without_nulls(value.take()));
    }
    object
}

#[cfg(test)]
mod tests;

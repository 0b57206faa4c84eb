//! From Gateways and their parameters to the objects that serve them; pure.

pub(super) mod metadata;
mod network;
mod pod;
mod scale;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

pub(super) use self::metadata::{Metadata, Owner};
use super::identity::WorkerIdentity;
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

/// A port of TCP or UDP.
pub(super) type Port = (u16, Transport);

/// Everything that counts for workers: of one Gateway, or of those that share them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pool {
    pub(super) metadata: Metadata,
    /// What configd calls it.
    pub(super) id: String,
    /// Which the workers bind.
    pub(super) ports: BTreeSet<Port>,
    pub(super) parameters: WorkerParameters,
    /// `None` where configd is reached without certificates.
    pub(super) identity: Option<WorkerIdentity>,
    /// The image of the workers, unless the parameters say otherwise.
    pub(super) image: String,
    /// Where workers find configd.
    pub(super) configd: String,
}

/// Everything that counts for what leads clients of one Gateway to its workers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Front {
    pub(super) metadata: Metadata,
    /// Labels of the workers' Pods.
    pub(super) pods: BTreeMap<String, String>,
    /// Of the listeners, those of ListenerSets included, and which the workers bind for them.
    pub(super) ports: BTreeMap<Port, u16>,
    /// The first IP address that the Gateway asks for.
    pub(super) asked_address: Option<String>,
    /// By which parameters the Gateway is served, for it to be remembered.
    pub(super) last_parameters: Option<String>,
    pub(super) parameters: WorkerParameters,
}

/// The objects of a pool, in the order in which they are applied. A kind that is not wanted is not among them.
pub(super) fn workers(pool: &Pool) -> Vec<Value> {
    let mut objects = vec![service_account(pool)];
    objects.extend(identity(pool));
    objects.extend(network::policy(pool));
    objects.push(pod::deployment(pool));
    objects.push(scale::disruption_budget(pool));
    objects.extend(scale::autoscaler(pool));
    patched(objects, &pool.parameters)
}

/// The Service in front of a Gateway's workers; none while there is no port, since a Service must have one.
pub(super) fn front(front: &Front) -> Vec<Value> {
    let objects = network::service(front).into_iter().collect();
    patched(objects, &front.parameters)
}

fn patched(mut objects: Vec<Value>, parameters: &WorkerParameters) -> Vec<Value> {
    for object in &mut objects {
        let kind = object["kind"].clone();
        let patches = parameters.patches.iter();
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
        "metadata": pool.metadata.json(),
        "automountServiceAccountToken": false,
    })
}

fn identity(pool: &Pool) -> Option<Value> {
    let identity = pool.identity.as_ref()?;
    Some(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": pool.metadata.json(),
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

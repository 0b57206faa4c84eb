//! From a Gateway to everything that it names, as the cluster has it now.

pub(super) mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::build::metadata::of_gateway;
use super::build::{Front, Metadata, Owner, Pool, Port, Transport};
use super::parameters::WorkerParameters;
use super::{memory, names, parameters, reconcile::PoolSettings};
use crate::cluster::{Mirror, Observed};
use crate::key::ObjectKey;
use crate::kinds::{GATEWAY_GROUP, OWN_GROUP};
use crate::statuses::{Board, Served};

/// What a Gateway, or the workers that several share, come to.
pub(super) enum Found {
    /// It is not there, or of another controller.
    NotOurs,
    /// It is ours, and what there is stays: configd does not accept it, so that workers would wait for a snapshot that
    /// does not come, or has not said where it is served.
    NotYet,
    /// It is ours, with these objects.
    Parts(Box<Parts>),
    /// It is ours, and this keeps it from having objects. What runs goes on.
    Broken(String),
}

/// What is to be built. A Gateway that shares workers has a front alone, shared workers have none.
pub(super) struct Parts {
    pub(super) pool: Option<Pool>,
    pub(super) front: Option<Front>,
}

/// Where everything is looked up.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'s> {
    pub(super) mirror: &'s Mirror,
    pub(super) board: &'s Board,
    pub(super) settings: &'s PoolSettings,
}

/// A Gateway of ours, with what it names.
struct Named {
    key: ObjectKey,
    gateway: Arc<Observed>,
    class: String,
    /// `spec` of its GatewayParameters, and of those of its class.
    own: Option<Value>,
    of_class: Option<Value>,
}

/// Looks everything up that a Gateway needs.
pub(super) fn dereference(around: Surroundings<'_>, key: &ObjectKey) -> Found {
    let named = match around.named(key) {
        Ok(Some(named)) => named,
        Ok(None) => return Found::NotOurs,
        Err(broken) => return Found::Broken(broken),
    };
    let parts = match around.served(key) {
        Some(served) if is_shared(key, &served) => match served.ports.is_empty() {
            true => return Found::NotYet,
            false => around.shared_front(&named, &served),
        },
        served => {
            // Before configd's first word, what was shared is left alone.
            let was_shared = served.is_none() && around.has_shared_front(&named);
            let is_new = !around.is_served(key) && !around.has_objects(&named);
            if was_shared || is_new {
                return Found::NotYet;
            }
            around.own_parts(&named)
        }
    };
    match parts {
        Ok(parts) => Found::Parts(Box::new(parts)),
        Err(broken) => Found::Broken(broken),
    }
}

/// Whether the workers are not the Gateway's alone.
fn is_shared(gateway: &ObjectKey, served: &Served) -> bool {
    !served.pool.is_empty() && served.pool != own_pool(gateway)
}

/// What configd calls the pool of a Gateway that shares none.
fn own_pool(gateway: &ObjectKey) -> String {
    format!("{}/{}", gateway.namespace, gateway.name)
}

impl Surroundings<'_> {
    fn served(&self, key: &ObjectKey) -> Option<Served> {
        self.board.get(key)?.served().cloned()
    }

    fn is_served(&self, key: &ObjectKey) -> bool {
        self.board.get(key).is_some_and(|status| status.is_served())
    }

    /// By which parameters configd serves a Gateway, else by which it did.
    fn last_parameters(&self, key: &ObjectKey, gateway: &Observed) -> Option<String> {
        let served = self.served(key).map(|served| served.parameters);
        served
            .filter(|parameters| !parameters.is_empty())
            .or_else(|| memory::last_parameters(self.mirror, key, gateway))
    }

    fn own(&self, kind: &str, named: &Named) -> Option<Arc<Observed>> {
        let name = names::of_pool(&named.key.name, &named.class);
        let child = ObjectKey::new("", kind, &named.key.namespace, &name);
        let child = self.mirror.objects.get(&child)?;
        let owner = names::gateway_of(&named.key, &child.whole);
        (owner.as_ref() == Some(&named.key)).then_some(child)
    }

    /// Whether its Service leads to workers that it shares.
    fn has_shared_front(&self, named: &Named) -> bool {
        let service = self.own("Service", named);
        service
            .is_some_and(|service| service.whole["spec"]["selector"][names::POOL_LABEL].is_string())
    }

    /// Whether something of its own is there. What was accepted once keeps its workers.
    fn has_objects(&self, named: &Named) -> bool {
        ["Service", "Secret"]
            .into_iter()
            .any(|kind| self.own(kind, named).is_some())
    }

    /// A Gateway with what it names; `None` where it is not there, or not ours.
    fn named(&self, key: &ObjectKey) -> Result<Option<Named>, String> {
        let Some(gateway) = self.mirror.objects.get(key).filter(|one| !one.is_deleting) else {
            return Ok(None);
        };
        let class = text(&gateway.whole["spec"]["gatewayClassName"]);
        let class_key = ObjectKey::new(GATEWAY_GROUP, "GatewayClass", "", &class);
        let Some(found) = self.mirror.objects.get(&class_key) else {
            return Ok(None);
        };
        if found.whole["spec"]["controllerName"] != *self.settings.controller {
            return Ok(None);
        }
        let reference = &found.whole["spec"]["parametersRef"];
        let namespace = reference["namespace"].as_str().unwrap_or_default();
        let of_class = self.parameters_at(reference, namespace);
        let reference = &gateway.whole["spec"]["infrastructure"]["parametersRef"];
        let own = self.parameters_at(reference, &key.namespace);
        // What is not there any more is as it was: that it is missing, the Gateway's conditions say.
        let last = || {
            let last = self.last_parameters(key, &gateway)?;
            serde_json::from_str::<Value>(&last).ok()
        };
        let or_last = |found: Result<Option<Value>, String>, field: &str| match found {
            Ok(found) => Ok(found),
            Err(broken) => last()
                .map(|mut last| Some(last[field].take()).filter(|spec| !spec.is_null()))
                .ok_or(broken),
        };
        let of_class = or_last(of_class, "ofClass")?;
        let own = or_last(own, "own")?;
        Ok(Some(Named {
            key: key.clone(),
            gateway,
            class,
            own,
            of_class,
        }))
    }

    /// `spec` of the GatewayParameters that a reference names.
    fn parameters_at(&self, reference: &Value, namespace: &str) -> Result<Option<Value>, String> {
        if reference.is_null() {
            return Ok(None);
        }
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let name = text("name");
        if (text("group"), text("kind")) != (OWN_GROUP, "GatewayParameters") {
            return Err(format!(
                "parametersRef names a {}; use GatewayParameters of group {OWN_GROUP}",
                text("kind")
            ));
        }
        let key = ObjectKey::new(OWN_GROUP, "GatewayParameters", namespace, name);
        match self.mirror.objects.get(&key) {
            Some(found) => Ok(Some(found.whole["spec"].clone())),
            None => Err(format!(
                "{key} does not exist; create it or correct parametersRef"
            )),
        }
    }

    /// Workers and Service of a Gateway that shares nothing.
    fn own_parts(&self, named: &Named) -> Result<Parts, String> {
        let parameters = named.parameters()?;
        let metadata = named.metadata();
        let secret = self.own("Secret", named);
        let ports = self.ports(named);
        let front = Front {
            pods: metadata.selector.clone(),
            metadata: metadata.clone(),
            ports: ports.iter().map(|port| (*port, port.0)).collect(),
            asked_address: asked_address(named.spec()),
            last_parameters: self.last_parameters(&named.key, &named.gateway),
            parameters: parameters.clone(),
        };
        let ports = ports.into_iter().collect();
        let id = own_pool(&named.key);
        let pool = self.pool(metadata, id, ports, parameters, secret.as_deref())?;
        Ok(Parts {
            pool: Some(pool),
            front: Some(front),
        })
    }

    fn pool(
        &self,
        metadata: Metadata,
        id: String,
        ports: BTreeSet<Port>,
        parameters: WorkerParameters,
        secret: Option<&Observed>,
    ) -> Result<Pool, String> {
        let settings = self.settings;
        let identity = match &settings.issuer {
            None => None,
            Some(issuer) => Some(
                issuer
                    .identity(&id, secret.map(|secret| &secret.whole))
                    .map_err(|error| format!("no certificate for the workers: {error}"))?,
            ),
        };
        Ok(Pool {
            metadata,
            id,
            ports,
            parameters,
            identity,
            image: settings.image.clone(),
            configd: settings.configd.clone(),
        })
    }

    /// The ports of a Gateway's listeners and of those of its ListenerSets.
    fn ports(&self, named: &Named) -> Vec<Port> {
        let mut ports = ports(named.spec());
        for set in self.sets(&named.key) {
            ports.extend(self::ports(&set.whole["spec"]));
        }
        ports
    }

    /// The ListenerSets of a Gateway that configd accepts: whose they may be is its business.
    fn sets(&self, gateway: &ObjectKey) -> Vec<Arc<Observed>> {
        let all = self.mirror.objects.of_kind(GATEWAY_GROUP, "ListenerSet");
        let own = all.into_iter().filter(|(key, set)| {
            self.is_served(key) && parent_of(key, &set.whole).as_ref() == Some(gateway)
        });
        own.map(|(_, set)| set).collect()
    }
}

impl Named {
    fn spec(&self) -> &Value {
        &self.gateway.whole["spec"]
    }

    fn parameters(&self) -> Result<WorkerParameters, String> {
        parameters::read(self.own.as_ref(), self.of_class.as_ref())
    }

    fn owner(&self) -> Owner {
        Owner {
            api_version: text(&self.gateway.whole["apiVersion"]),
            name: self.key.name.to_string(),
            uid: self.gateway.uid.clone(),
        }
    }

    /// Of what is its own.
    fn metadata(&self) -> Metadata {
        let infrastructure = &self.spec()["infrastructure"];
        Metadata {
            namespace: self.key.namespace.to_string(),
            name: names::of_pool(&self.key.name, &self.class),
            class: self.class.clone(),
            owners: vec![self.owner()],
            selector: of_gateway(&self.key.name),
            labels: texts(&infrastructure["labels"]),
            annotations: texts(&infrastructure["annotations"]),
        }
    }
}

/// The Gateway of a ListenerSet.
pub(super) fn parent_of(set: &ObjectKey, whole: &Value) -> Option<ObjectKey> {
    let parent = &whole["spec"]["parentRef"];
    let namespace = parent["namespace"].as_str().unwrap_or(&set.namespace);
    let name = parent["name"].as_str()?;
    Some(ObjectKey::new(GATEWAY_GROUP, "Gateway", namespace, name))
}

/// The ports of listeners whose protocol is known.
fn ports(spec: &Value) -> Vec<Port> {
    let listeners = spec["listeners"].as_array().into_iter().flatten();
    let ports = listeners.filter_map(|listener| {
        let port = u16::try_from(listener["port"].as_u64()?).ok()?;
        match listener["protocol"].as_str()? {
            "HTTP" | "HTTPS" | "TLS" | "TCP" => Some((port, Transport::Tcp)),
            "UDP" => Some((port, Transport::Udp)),
            _ => None,
        }
    });
    ports.collect()
}

fn asked_address(spec: &Value) -> Option<String> {
    let addresses = spec["addresses"].as_array().into_iter().flatten();
    let mut addresses =
        addresses.filter(|address| address["type"].as_str().unwrap_or("IPAddress") == "IPAddress");
    let value = addresses.find_map(|address| address["value"].as_str());
    value.filter(|value| !value.is_empty()).map(str::to_owned)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(object: &Value) -> BTreeMap<String, String> {
    let fields = object.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

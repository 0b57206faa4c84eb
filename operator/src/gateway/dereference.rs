//! From a Gateway to everything that it names, as the cluster has it now.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::build::{Pool, Transport};
use super::{names, parameters, reconcile::PoolSettings};
use crate::cluster::{Mirror, Observed};
use crate::key::ObjectKey;
use crate::kinds::{GATEWAY_GROUP, OWN_GROUP};
use crate::statuses::Board;

/// What a Gateway comes to.
pub(super) enum Found {
    /// It is not there, or of another controller.
    NotOurs,
    /// It is ours, has no pool yet, and configd does not accept it: workers would wait for a snapshot that does not come.
    NotAccepted,
    /// It is ours, with this pool.
    Pool(Box<Pool>),
    /// It is ours, and this keeps it from having a pool. What runs goes on.
    Broken(String),
}

/// What a Gateway names.
struct Named {
    class: String,
    own: Option<Arc<Observed>>,
    of_class: Option<Arc<Observed>>,
}

/// Looks everything up.
pub(super) fn dereference(
    mirror: &Mirror,
    board: &Board,
    settings: &PoolSettings,
    key: &ObjectKey,
) -> Found {
    let Some(gateway) = mirror.objects.get(key).filter(|one| !one.is_deleting) else {
        return Found::NotOurs;
    };
    let named = match named(mirror, &settings.controller, key, &gateway.whole) {
        Ok(Some(named)) => named,
        Ok(None) => return Found::NotOurs,
        Err(broken) => return Found::Broken(broken),
    };
    let accepted = board
        .get(key)
        .is_some_and(|status| status.is_true("Accepted"));
    if !accepted && !has_pool(mirror, key, &named.class) {
        return Found::NotAccepted;
    }
    match pool(mirror, board, settings, key, &gateway, &named) {
        Ok(pool) => Found::Pool(Box::new(pool)),
        Err(broken) => Found::Broken(broken),
    }
}

/// Whether something of a pool is there. What was accepted once keeps its workers.
fn has_pool(mirror: &Mirror, gateway: &ObjectKey, class: &str) -> bool {
    let name = names::of_pool(&gateway.name, class);
    ["Service", "Secret"].into_iter().any(|kind| {
        let child = ObjectKey::new("", kind, &gateway.namespace, &name);
        let child = mirror.objects.get(&child);
        child.is_some_and(|own| names::gateway_of(gateway, &own.whole).as_ref() == Some(gateway))
    })
}

fn named(
    mirror: &Mirror,
    controller: &str,
    key: &ObjectKey,
    gateway: &Value,
) -> Result<Option<Named>, String> {
    let class = gateway["spec"]["gatewayClassName"].as_str();
    let class = class.unwrap_or_default().to_owned();
    let class_key = ObjectKey::new(GATEWAY_GROUP, "GatewayClass", "", &class);
    let Some(found) = mirror.objects.get(&class_key) else {
        return Ok(None);
    };
    if found.whole["spec"]["controllerName"] != *controller {
        return Ok(None);
    }
    let reference = &found.whole["spec"]["parametersRef"];
    let namespace = reference["namespace"].as_str().unwrap_or_default();
    let of_class = parameters_at(mirror, reference, namespace)?;
    let reference = &gateway["spec"]["infrastructure"]["parametersRef"];
    let own = parameters_at(mirror, reference, &key.namespace)?;
    Ok(Some(Named {
        class,
        own,
        of_class,
    }))
}

fn parameters_at(
    mirror: &Mirror,
    reference: &Value,
    namespace: &str,
) -> Result<Option<Arc<Observed>>, String> {
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
    match mirror.objects.get(&key) {
        Some(found) => Ok(Some(found)),
        None => Err(format!(
            "{key} does not exist; create it or correct parametersRef"
        )),
    }
}

fn pool(
    mirror: &Mirror,
    board: &Board,
    settings: &PoolSettings,
    key: &ObjectKey,
    gateway: &Observed,
    named: &Named,
) -> Result<Pool, String> {
    let spec = &gateway.whole["spec"];
    let spec_of = |parameters: &Option<Arc<Observed>>| {
        let found = parameters.as_ref();
        found.map(|found| found.whole["spec"].clone())
    };
    let (own, of_class) = (spec_of(&named.own), spec_of(&named.of_class));
    let parameters = parameters::read(own.as_ref(), of_class.as_ref())?;
    let secret = names::of_pool(&key.name, &named.class);
    let secret = ObjectKey::new("", "Secret", &key.namespace, &secret);
    let secret = mirror.objects.get(&secret);
    let id = format!("{}/{}", key.namespace, key.name);
    let identity = match &settings.issuer {
        None => None,
        Some(issuer) => Some(
            issuer
                .identity(&id, secret.as_ref().map(|secret| &secret.whole))
                .map_err(|error| format!("no certificate for the workers: {error}"))?,
        ),
    };
    let mut ports = ports(spec);
    for set in sets(mirror, board, key) {
        ports.extend(self::ports(&set.whole["spec"]));
    }
    let infrastructure = &spec["infrastructure"];
    Ok(Pool {
        namespace: key.namespace.to_string(),
        gateway: key.name.to_string(),
        uid: gateway.uid.clone(),
        api_version: text(&gateway.whole["apiVersion"]),
        class: named.class.clone(),
        ports: ports.into_iter().collect(),
        labels: texts(&infrastructure["labels"]),
        annotations: texts(&infrastructure["annotations"]),
        asked_address: asked_address(spec),
        parameters,
        identity,
        image: settings.image.clone(),
        configd: settings.configd.clone(),
    })
}

/// The ListenerSets of a Gateway that configd accepts: whose they may be is its business.
fn sets(mirror: &Mirror, board: &Board, gateway: &ObjectKey) -> Vec<Arc<Observed>> {
    let all = mirror
        .objects
        .of_kind(GATEWAY_GROUP, "ListenerSet")
        .into_iter();
    let own = all.filter(|(key, set)| {
        let accepted = board
            .get(key)
            .is_some_and(|status| status.is_true("Accepted"));
        accepted && parent_of(key, &set.whole).as_ref() == Some(gateway)
    });
    own.map(|(_, set)| set).collect()
}

/// The Gateway of a ListenerSet.
pub(super) fn parent_of(set: &ObjectKey, whole: &Value) -> Option<ObjectKey> {
    let parent = &whole["spec"]["parentRef"];
    let namespace = parent["namespace"].as_str().unwrap_or(&set.namespace);
    let name = parent["name"].as_str()?;
    Some(ObjectKey::new(GATEWAY_GROUP, "Gateway", namespace, name))
}

/// The ports of listeners whose protocol is known.
fn ports(spec: &Value) -> Vec<(u16, Transport)> {
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

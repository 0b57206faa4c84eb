//! The addresses behind a port: from EndpointSlices, or from Pods that a selector chooses.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tidegate_ir::{BackendKind, Endpoint, ObjectName};

use crate::api::core::{EndpointSlice, Pod, SliceEndpoint};
use crate::backend_object::{BackendObject, BackendPort};
use crate::objects::{Objects, Parsed, Place};

/// The labels of an EndpointSlice that name its Service or ServiceImport.
const OWNER_LABELS: [(BackendKind, &str); 2] = [
    (BackendKind::Service, "kubernetes.io/service-name"),
    (
        BackendKind::ServiceImport,
        "multicluster.kubernetes.io/service-name",
    ),
];

/// The objects that a slice belongs to.
pub(crate) fn owners_of(
    source: &Arc<str>,
    namespace: &Arc<str>,
    slice: &EndpointSlice,
) -> Vec<BackendObject> {
    let labels = &slice.metadata.labels;
    let owners = OWNER_LABELS.into_iter().filter_map(|(kind, label)| {
        let place = Place {
            source: source.clone(),
            object: ObjectName::new(namespace.clone(), labels.get(label)?.as_str()),
        };
        Some(BackendObject { kind, place })
    });
    owners.collect()
}

/// The endpoints of a port of a Service or ServiceImport, IPv4 and IPv6 together.
pub(crate) fn of_slices(objects: &Objects, port: &BackendPort, port_name: &str) -> Vec<Endpoint> {
    let slices = slices_of(objects, &port.object);
    let endpoints = slices.flat_map(|slice| slice_endpoints(&slice.spec, port_name, port));
    distinct(endpoints.collect())
}

/// A slice of names instead of addresses, which gets no requests.
pub(crate) fn slice_of_names<'a>(objects: &'a Objects, owner: &BackendObject) -> Option<&'a str> {
    let mut slices = slices_of(objects, owner);
    let slice = slices.find(|slice| slice.spec.address_type == "FQDN")?;
    Some(slice.key.name())
}

/// The endpoints of the Pods of a namespace with those labels: one for each, at its first address.
pub(crate) fn of_pods(
    objects: &Objects,
    namespace: &Place,
    labels: &BTreeMap<String, String>,
    port: u16,
) -> Vec<Endpoint> {
    let pods = objects.pods.range(in_namespace(namespace)..);
    let pods = pods.take_while(|(place, _)| {
        place.source == namespace.source && place.object.namespace == namespace.object.namespace
    });
    let chosen = pods.filter(|(_, pod)| selects(labels, &pod.spec));
    let endpoints = chosen.filter_map(|(_, pod)| {
        let address = pod.spec.status.pod_ips.first()?.ip.parse().ok()?;
        let mut conditions = pod.spec.status.conditions.iter();
        let ready = conditions.any(|own| own.type_ == "Ready" && own.status == "True");
        ready.then(|| Endpoint {
            address: SocketAddr::new(address, port),
            draining: pod.spec.metadata.deletion_timestamp.is_some(),
        })
    });
    distinct(endpoints.collect())
}

/// Whether a Pod has all those labels.
pub(crate) fn selects(labels: &BTreeMap<String, String>, pod: &Pod) -> bool {
    let own = &pod.metadata.labels;
    labels
        .iter()
        .all(|(name, value)| own.get(name) == Some(value))
}

/// Where the objects of a place's namespace begin.
pub(crate) fn in_namespace(place: &Place) -> Place {
    Place {
        source: place.source.clone(),
        object: ObjectName::new(place.object.namespace.clone(), ""),
    }
}

fn slices_of<'a>(
    objects: &'a Objects,
    owner: &BackendObject,
) -> impl Iterator<Item = &'a Arc<Parsed<EndpointSlice>>> {
    let names = objects.slices_by_owner.get(owner);
    let places = names.into_iter().flatten();
    places.filter_map(|place| objects.slices.get(place))
}

/// The same address may stand in two slices while they are rebuilt: then it is usable if one says so.
fn distinct(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    endpoints.sort();
    endpoints.dedup_by_key(|endpoint| endpoint.address);
    endpoints
}

fn slice_endpoints(slice: &EndpointSlice, port_name: &str, of: &BackendPort) -> Vec<Endpoint> {
    if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6" | "") {
        return vec![];
    }
    let named = |name: &Option<String>| name.as_deref().unwrap_or_default() == port_name;
    let wanted = of.traffic.transport().name();
    let fits = |protocol: &Option<String>| protocol.as_deref().unwrap_or("TCP") == wanted;
    let ports = slice.ports.iter();
    let ports = ports.filter(|port| named(&port.name) && fits(&port.protocol));
    // A port without a number stands for any, so the one that is asked for.
    let ports: Vec<u16> = ports.map(|port| port.port.unwrap_or(of.port)).collect();
    let usable = slice.endpoints.iter().filter_map(|endpoint| {
        let draining = draining(endpoint)?;
        Some((endpoint, draining))
    });
    usable
        .flat_map(|(endpoint, draining)| {
            let addresses = endpoint.addresses.iter();
            addresses.filter_map(move |text| Some((text.parse::<IpAddr>().ok()?, draining)))
        })
        .flat_map(|(ip, draining)| {
            ports.iter().map(move |port| Endpoint {
                address: SocketAddr::new(ip, *port),
                draining,
            })
        })
        .collect()
}

/// `None` for an endpoint that gets nothing. One that terminates but still serves is kept as a last
/// resort, as kube-proxy does.
fn draining(endpoint: &SliceEndpoint) -> Option<bool> {
    let conditions = &endpoint.conditions;
    if conditions.ready.unwrap_or(true) {
        return Some(false);
    }
    let serving = conditions.serving.unwrap_or(false);
    let terminating = conditions.terminating.unwrap_or(false);
    (serving && terminating).then_some(true)
}

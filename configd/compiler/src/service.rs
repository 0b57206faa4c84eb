//! Services and their endpoints: what a reference to a port of one leads to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tidegate_ir::{
    Backend, BackendProtocol, Destination, Endpoint, EndpointSet, ObjectName, PartName,
};

use crate::api::core::{EndpointSlice, Service, ServicePort, SliceEndpoint};
use crate::objects::{Objects, Parsed, Place};

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The part of a Service that compiles.
#[derive(Debug)]
pub(crate) struct ServicePorts {
    external_name: bool,
    ports: Vec<ServicePort>,
}

/// Why a port of a Service cannot be a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    ExternalName,
    NoSuchPort,
    NotTcp,
    AppProtocol,
}

impl ServicePorts {
    pub(crate) fn new(service: Service) -> Self {
        Self {
            external_name: service.spec.type_.as_deref() == Some("ExternalName"),
            ports: service.spec.ports,
        }
    }

    /// How the port is spoken to.
    pub(crate) fn protocol(&self, port: u16) -> Result<BackendProtocol, Unusable> {
        if self.external_name {
            return Err(Unusable::ExternalName);
        }
        let port = self.tcp_port(port)?;
        match port.app_protocol.as_deref() {
            None | Some("http" | "HTTP" | "kubernetes.io/ws") => Ok(BackendProtocol::Http1),
            Some("kubernetes.io/h2c") => Ok(BackendProtocol::Http2),
            Some(_) => Err(Unusable::AppProtocol),
        }
    }

    /// The `appProtocol` of a port, for messages.
    pub(crate) fn app_protocol(&self, port: u16) -> &str {
        let port = self.tcp_port(port).ok();
        let app_protocol = port.and_then(|port| port.app_protocol.as_deref());
        app_protocol.unwrap_or_default()
    }

    /// The port numbers, for messages.
    pub(crate) fn port_list(&self) -> String {
        let numbers: Vec<String> = self
            .ports
            .iter()
            .map(|port| port.port.to_string())
            .collect();
        match numbers.as_slice() {
            [] => "it has none".to_owned(),
            numbers => format!("it has {}", numbers.join(", ")),
        }
    }

    fn tcp_port(&self, number: u16) -> Result<&ServicePort, Unusable> {
        let mut ports = self
            .ports
            .iter()
            .filter(|port| port.port == number)
            .peekable();
        if ports.peek().is_none() {
            return Err(Unusable::NoSuchPort);
        }
        let is_tcp = |port: &&ServicePort| port.protocol.as_deref().unwrap_or("TCP") == "TCP";
        ports.find(is_tcp).ok_or(Unusable::NotTcp)
    }
}

/// A port of a Service that exists and can be a backend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BackendPort {
    pub(crate) service: Place,
    pub(crate) port: u16,
    /// Gets gRPC calls, which need HTTP/2 although the Service does not say so.
    pub(crate) grpc: bool,
}

impl BackendPort {
    /// Name of the backend part.
    pub(crate) fn part_name(&self) -> PartName {
        match self.grpc {
            true => format!("{}/grpc", self.endpoints_name()).into(),
            false => self.endpoints_name(),
        }
    }

    /// Name of the endpoint set, whatever is spoken to the endpoints.
    fn endpoints_name(&self) -> PartName {
        let Place { source, object } = &self.service;
        format!("{source}/{object}/{}", self.port).into()
    }

    /// The parts for it; `None` when the Service has gone or changed since the reference was resolved.
    pub(crate) fn parts(&self, objects: &Objects) -> Option<(Backend, EndpointSet)> {
        let service = objects.services.get(&self.service)?;
        let name = self.endpoints_name();
        let protocol = service.spec.protocol(self.port).ok()?;
        let backend = Backend {
            protocol: if self.grpc {
                BackendProtocol::Http2
            } else {
                protocol
            },
            destination: Destination::Endpoints(name.clone()),
            ..Backend::of_service(self.part_name(), self.service.object.clone(), self.port)
        };
        let port = service.spec.tcp_port(self.port).ok()?;
        let endpoints = self.endpoints(objects, port);
        Some((backend, EndpointSet { name, endpoints }))
    }

    fn endpoints(&self, objects: &Objects, port: &ServicePort) -> Vec<Endpoint> {
        let port_name = port.name.as_deref().unwrap_or_default();
        let slices = objects.slices_of(&self.service);
        let mut endpoints: Vec<Endpoint> = slices
            .flat_map(|slice| slice_endpoints(&slice.spec, port_name))
            .collect();
        // The same address may stand in two slices while they are rebuilt: then it is usable if one says so.
        endpoints.sort();
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        endpoints
    }
}

fn slice_endpoints(slice: &EndpointSlice, port_name: &str) -> Vec<Endpoint> {
    if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6" | "") {
        return vec![];
    }
    let named = |name: &Option<String>| name.as_deref().unwrap_or_default() == port_name;
    let tcp = |protocol: &Option<String>| protocol.as_deref().unwrap_or("TCP") == "TCP";
    let ports = slice.ports.iter();
    let ports = ports.filter(|port| named(&port.name) && tcp(&port.protocol));
    let ports: Vec<u16> = ports.filter_map(|port| port.port).collect();
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

impl Objects {
    fn slices_of(&self, service: &Place) -> impl Iterator<Item = &Arc<Parsed<EndpointSlice>>> {
        let names = self.slices_by_service.get(service);
        let places = names.into_iter().flatten();
        places.filter_map(|place| self.slices.get(place))
    }
}

/// The Service that a slice belongs to.
pub(crate) fn owner_of(
    source: &Arc<str>,
    namespace: &Arc<str>,
    slice: &EndpointSlice,
) -> Option<Place> {
    let service = slice.metadata.labels.get(SERVICE_NAME_LABEL)?;
    Some(Place {
        source: source.clone(),
        object: ObjectName::new(namespace.clone(), service.as_str()),
    })
}

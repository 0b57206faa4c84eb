//! The objects that configd shall have: those of the files, and what a cluster would add to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::source::object::FileKey;
use crate::source::set::{SourceObject, uid_of};

/// The source that objects of files belong to.
pub(crate) const SOURCE: &str = "files";
/// GatewayClasses with this controllerName are ours.
pub(crate) const CONTROLLER_NAME: &str = "tidegate.dev/gateway-controller";

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// An object as configd takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredObject {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) created_at_unix_s: i64,
    /// The object as JSON.
    pub(crate) content: Bytes,
}

/// Objects by key.
pub(crate) type DesiredSet = BTreeMap<FileKey, DesiredObject>;

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServicePort {
    /// Empty where the Service has a single, unnamed port.
    pub(crate) name: String,
    pub(crate) port: u16,
    /// `TCP` or `UDP`.
    pub(crate) protocol: String,
}

/// A Service of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileService {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) ports: Vec<ServicePort>,
    /// Whether the files hold EndpointSlices of it.
    pub(crate) has_endpoints: bool,
}

impl FileService {
    /// Whether the built-in echo backend can answer for it.
    pub(crate) fn can_echo(&self) -> bool {
        self.ports.iter().any(|port| port.protocol == "TCP")
    }

    /// "shop/cart".
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The Services of the files that can have endpoints, ordered by namespace and name.
pub(crate) fn services(objects: &BTreeMap<FileKey, SourceObject>) -> Vec<FileService> {
    let with_endpoints: BTreeSet<_> = objects
        .iter()
        .filter(|(key, _)| key.kind == "EndpointSlice")
        .filter_map(|(key, object)| Some((key.namespace.clone(), slice_owner(object)?)))
        .collect();
    let service = |(key, object): (&FileKey, &SourceObject)| FileService {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        ports: service_ports(&object.object.value),
        has_endpoints: with_endpoints.contains(&(key.namespace.clone(), key.name.clone())),
    };
    objects
        .iter()
        .filter(|(key, object)| {
            let spec = &object.object.value["spec"];
            key.group.is_empty() && key.kind == "Service" && spec["type"] != "ExternalName"
        })
        .map(service)
        .collect()
}

fn slice_owner(slice: &SourceObject) -> Option<String> {
    let labels = &slice.object.value["metadata"]["labels"];
    labels[SERVICE_NAME_LABEL].as_str().map(str::to_owned)
}

fn service_ports(service: &Value) -> Vec<ServicePort> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let port = |value: &Value| {
        let port = value["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())?;
        Some(ServicePort {
            name: value["name"].as_str().unwrap_or_default().to_owned(),
            port,
            protocol: value["protocol"].as_str().unwrap_or("TCP").to_owned(),
        })
    };
    ports.filter_map(port).collect()
}

/// Builds a set, and collects what was added beyond what the files say.
pub(crate) struct SetBuilder {
    set: DesiredSet,
    notes: Vec<String>,
}

impl SetBuilder {
    /// Starts from the objects of the files.
    pub(crate) fn new(objects: &BTreeMap<FileKey, SourceObject>) -> Self {
        let desired = |object: &SourceObject| DesiredObject {
            uid: object.uid.clone(),
            generation: object.generation,
            created_at_unix_s: object.created_at_unix_s,
            content: object.content.clone(),
        };
        let set = objects
            .iter()
            .map(|(key, object)| (key.clone(), desired(object)))
            .collect();
        let mut builder = Self {
            set,
            notes: Vec::new(),
        };
        builder.add_namespaces(objects);
        builder.add_classes(objects);
        builder
    }

    /// Gives every namespace the label that a cluster gives it; routes may be selected by it.
    fn add_namespaces(&mut self, objects: &BTreeMap<FileKey, SourceObject>) {
        let used = objects
            .keys()
            .map(|key| key.namespace.clone())
            .filter(|ns| !ns.is_empty());
        let named = objects
            .keys()
            .filter(|key| key.kind == "Namespace")
            .map(|k| k.name.clone());
        for namespace in used.chain(named).collect::<BTreeSet<String>>() {
            let key = key("", "Namespace", "", &namespace);
            let mut value = objects.get(&key).map_or_else(
                || json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
                |object| object.object.value.clone(),
            );
            if !value["metadata"]["labels"].is_object() {
                value["metadata"]["labels"] = json!({});
            }
            value["metadata"]["labels"][NAMESPACE_NAME_LABEL] = namespace.into();
            match self.set.get_mut(&key) {
                Some(object) => object.content = value.to_string().into(),
                None => self.add(key, &value),
            }
        }
    }

    fn add_classes(&mut self, objects: &BTreeMap<FileKey, SourceObject>) {
        for (gateway, object) in objects.iter().filter(|(key, _)| key.kind == "Gateway") {
            let spec = &object.object.value["spec"];
            let Some(class) = spec["gatewayClassName"]
                .as_str()
                .filter(|name| !name.is_empty())
            else {
                continue;
            };
            let key = key(GATEWAY_GROUP, "GatewayClass", "", class);
            if self.set.contains_key(&key) {
                continue;
            }
            self.add(
                key,
                &json!({
                    "apiVersion": "gateway.networking.k8s.io/v1",
                    "kind": "GatewayClass",
                    "metadata": {"name": class},
                    "spec": {"controllerName": CONTROLLER_NAME},
                }),
            );
            let title = gateway.title();
            self.notes.push(format!(
                "GatewayClass {class} is in none of the files; made one, because {title} names it"
            ));
        }
    }

    /// Gives the port of a Service these endpoints; a port of 0 means every port.
    pub(crate) fn add_endpoints(&mut self, service: &FileService, port: u16, to: &[SocketAddr]) {
        for service_port in service.ports.iter().filter(|p| port == 0 || p.port == port) {
            for (index, address) in to.iter().enumerate() {
                let ServicePort {
                    name: port_name,
                    port,
                    protocol,
                } = service_port;
                let transport = protocol.to_ascii_lowercase();
                let name = format!("{}-{port}-{transport}-{index}", service.name);
                self.add(
                    key(
                        "discovery.k8s.io",
                        "EndpointSlice",
                        &service.namespace,
                        &name,
                    ),
                    &json!({
                        "apiVersion": "discovery.k8s.io/v1",
                        "kind": "EndpointSlice",
                        "metadata": {
                            "name": name,
                            "namespace": service.namespace,
                            "labels": {SERVICE_NAME_LABEL: service.name},
                        },
                        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
                        "endpoints": [{
                            "addresses": [address.ip().to_string()],
                            "conditions": {"ready": true},
                        }],
                        "ports": [{
                            "name": port_name,
                            "port": address.port(),
                            "protocol": protocol,
                        }],
                    }),
                );
            }
        }
    }

    /// Lets the built-in echo backend answer for the ports of a Service; it speaks HTTP, so not for UDP.
    pub(crate) fn add_echo(&mut self, service: &FileService, echo: SocketAddr) {
        let mut over_tcp = service.clone();
        over_tcp.ports.retain(|port| port.protocol == "TCP");
        self.add_endpoints(&over_tcp, 0, &[echo]);
    }

    /// Takes away the EndpointSlices that the files have for a Service.
    pub(crate) fn drop_endpoints(
        &mut self,
        service: &FileService,
        objects: &BTreeMap<FileKey, SourceObject>,
    ) {
        self.set.retain(|key, _| {
            let owner = || objects.get(key).and_then(slice_owner);
            key.kind != "EndpointSlice"
                || key.namespace != service.namespace
                || owner().as_deref() != Some(&service.name)
        });
    }

    /// Remembers something to tell the user.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// The set, and what to tell the user about it.
    pub(crate) fn finish(self) -> (DesiredSet, Vec<String>) {
        (self.set, self.notes)
    }

    fn add(&mut self, key: FileKey, value: &Value) {
        let object = DesiredObject {
            uid: uid_of(&key),
            generation: 1,
            created_at_unix_s: 0,
            content: value.to_string().into(),
        };
        self.set.insert(key, object);
    }
}

fn key(group: &str, kind: &str, namespace: &str, name: &str) -> FileKey {
    FileKey {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// The set that offline tools look at: every Service without endpoints has one.
pub(crate) fn offline_set(objects: &BTreeMap<FileKey, SourceObject>) -> (DesiredSet, Vec<String>) {
    let mut builder = SetBuilder::new(objects);
    for service in services(objects)
        .iter()
        .filter(|service| !service.has_endpoints)
    {
        builder.add_echo(service, ECHO_PLACEHOLDER);
    }
    builder.finish()
}

/// Stands for the echo backend where nothing runs.
pub(crate) const ECHO_PLACEHOLDER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

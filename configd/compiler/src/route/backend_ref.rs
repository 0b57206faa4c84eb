//! From backendRefs to ports of Services, ServiceImports and XBackends.

use tidegate_ir::{BackendKind, BackendProtocol};

use super::{Dependency, Findings, RouteKind};
use crate::api::GATEWAY_GROUP;
use crate::api::meta::BackendObjectReference;
use crate::api::x_backend::XBackendSpec;
use crate::backend_object::{BackendObject, BackendPort, Traffic};
use crate::codes::{self, Code};
use crate::grants::Reference;
use crate::objects::{ObjectKey, Objects, Place};
use crate::policy::{PolicyKind, in_force};
use crate::service::{ServicePorts, Unusable};
use crate::x_backend;

/// Why a backend cannot be used: reason of `ResolvedRefs`, and the message with the field.
pub(crate) type Unresolved = (&'static str, String);

/// The same before it is reported: reason, code, and message without the field.
type Unfollowed = (&'static str, &'static Code, String);

/// Follows references of one route and notes what it looked at.
pub(super) struct References<'a> {
    pub(super) objects: &'a Objects,
    pub(super) route: &'a ObjectKey,
    pub(super) dependencies: std::collections::BTreeSet<Dependency>,
    pub(super) backends: std::collections::BTreeSet<BackendPort>,
    /// The first reference that failed.
    pub(super) unresolved: Option<Unresolved>,
}

impl<'a> References<'a> {
    /// Of `route`, with nothing followed yet.
    pub(super) fn new(objects: &'a Objects, route: &'a ObjectKey) -> Self {
        Self {
            objects,
            route,
            dependencies: std::collections::BTreeSet::new(),
            backends: std::collections::BTreeSet::new(),
            unresolved: None,
        }
    }
}

impl References<'_> {
    /// What backends of the route get.
    pub(super) fn traffic(&self) -> Traffic {
        RouteKind::named(self.route.kind()).map_or(Traffic::Http, RouteKind::traffic)
    }

    /// The backend for that traffic, or one sentence why there is none, after it has been reported.
    pub(super) fn resolve(
        &mut self,
        reference: &BackendObjectReference,
        traffic: Traffic,
        field: &str,
        findings: &mut Findings<'_>,
    ) -> Result<BackendPort, String> {
        match self.follow(reference, traffic) {
            Ok(backend) => {
                self.backends.insert(backend.clone());
                Ok(backend)
            }
            Err((reason, code, message)) => {
                findings.report(field, code, &message);
                let message = format!("{field}: {message}");
                self.unresolved
                    .get_or_insert_with(|| (reason, message.clone()));
                Err(message)
            }
        }
    }

    fn follow(
        &mut self,
        reference: &BackendObjectReference,
        traffic: Traffic,
    ) -> Result<BackendPort, Unfollowed> {
        let BackendObjectReference { group, kind, .. } = reference;
        let place = self.permitted_place(reference)?;
        let Some(object) = BackendObject::named(group, kind, place) else {
            let message = format!(
                "{kind} of group {group:?} is not supported as a backend; use a Service, ServiceImport or XBackend"
            );
            return Err(("InvalidKind", &codes::BACKEND_KIND, message));
        };
        self.dependencies
            .insert(Dependency::Backend(object.clone()));
        if let Some(backend) = self.objects.x_backends.get(&object.place)
            && object.kind == BackendKind::XBackend
        {
            return x_backend_port(object, &backend.spec, reference.port, traffic);
        }
        let Some(ports) = object.ports(self.objects) else {
            return Err(not_found(format!(
                "{object} does not exist; create it or correct the name"
            )));
        };
        self.service_port(object, ports, reference.port, traffic)
    }

    /// Where the object is that a reference names, whether it is there or not.
    fn permitted_place(&mut self, reference: &BackendObjectReference) -> Result<Place, Unfollowed> {
        let BackendObjectReference {
            group, kind, name, ..
        } = reference;
        let own_namespace = &**self.route.namespace();
        let namespace = reference.namespace.as_deref().unwrap_or(own_namespace);
        let source = self.route.source();
        if namespace != own_namespace {
            let grants = Place::new(source, namespace, "");
            self.dependencies.insert(Dependency::Grants(grants));
        }
        let permission = Reference {
            source,
            from_group: GATEWAY_GROUP,
            from_kind: self.route.kind(),
            from_namespace: own_namespace,
            to_group: group,
            to_kind: kind,
            to_namespace: namespace,
            to_name: name,
        };
        if permission.is_permitted(self.objects) {
            return Ok(Place::new(source, namespace, name));
        }
        let message = format!(
            "no ReferenceGrant in namespace {namespace} lets {}s of namespace {own_namespace} use {kind} {name}; create one there",
            self.route.kind()
        );
        Err(("RefNotPermitted", &codes::BACKEND_NOT_PERMITTED, message))
    }

    fn service_port(
        &self,
        object: BackendObject,
        ports: &ServicePorts,
        port: Option<u16>,
        traffic: Traffic,
    ) -> Result<BackendPort, Unfollowed> {
        let Some(port) = port else {
            let message = format!("{object} needs a port; {}", ports.port_list());
            return Err(not_found(message));
        };
        let mut own = BackendPort {
            object,
            port,
            traffic,
        };
        let with_tls = in_force(self.objects, PolicyKind::Tls, &own).is_some();
        let protocol = |traffic| ports.protocol(port, traffic, with_tls);
        match protocol(traffic) {
            Ok(_) => {
                let says_http2 = || protocol(Traffic::Http) == Ok(BackendProtocol::Http2);
                if traffic == Traffic::Grpc && says_http2() {
                    own.traffic = Traffic::Http;
                }
                Ok(own)
            }
            Err(unusable) => Err(unusable_port(&own, ports, unusable)),
        }
    }
}

fn not_found(message: String) -> Unfollowed {
    ("BackendNotFound", &codes::BACKEND_NOT_FOUND, message)
}

fn unusable_port(own: &BackendPort, ports: &ServicePorts, unusable: Unusable) -> Unfollowed {
    let BackendPort {
        object,
        port,
        traffic,
    } = own;
    let unsupported = |message| ("UnsupportedProtocol", &codes::BACKEND_PROTOCOL, message);
    let app_protocol = ports.app_protocol(*port);
    match unusable {
        Unusable::NoSuchPort => not_found(format!(
            "{object} has no port {port}; {}",
            ports.port_list()
        )),
        Unusable::ExternalName => {
            let message = format!(
                "{object} is of type ExternalName, which is not supported because it can lead anywhere; use a Service with endpoints, or an XBackend"
            );
            ("UnsupportedValue", &codes::BACKEND_KIND, message)
        }
        Unusable::OtherTransport => {
            let transport = traffic.transport().name();
            unsupported(format!(
                "port {port} of {object} is not {transport}; use a {transport} port"
            ))
        }
        Unusable::NoTlsForDatagrams => unsupported(format!(
            "a BackendTLSPolicy asks for TLS on port {port} of {object}, which cannot protect datagrams; limit the policy to TCP ports by sectionName"
        )),
        Unusable::AppProtocol => unsupported(format!(
            "port {port} of {object} has appProtocol {app_protocol}, which is not supported for this route; use {}, http or none",
            if *traffic == Traffic::Grpc {
                "kubernetes.io/h2c, grpc"
            } else {
                "kubernetes.io/h2c, kubernetes.io/ws"
            }
        )),
        Unusable::NeedsTls => unsupported(format!(
            "port {port} of {object} has appProtocol {app_protocol}, which needs TLS; create a BackendTLSPolicy for it"
        )),
    }
}

/// An XBackend has one port, so a reference needs none.
fn x_backend_port(
    object: BackendObject,
    spec: &XBackendSpec,
    port: Option<u16>,
    traffic: Traffic,
) -> Result<BackendPort, Unfollowed> {
    let own = spec.port.number;
    if let Some(port) = port.filter(|port| *port != own) {
        let message = format!("{object} has no port {port}; it has {own}, so leave the port out");
        return Err(not_found(message));
    }
    if x_backend::protocol(spec, traffic).is_none() {
        let message = match traffic {
            Traffic::Udp => format!("{object} gets TCP connections only; use a Service"),
            _ => format!(
                "{object} has protocol {}, which cannot carry the requests of this route; use HTTP or HTTP2",
                spec.protocol.as_deref().unwrap_or_default()
            ),
        };
        return Err(("UnsupportedProtocol", &codes::BACKEND_PROTOCOL, message));
    }
    let says_http2 = x_backend::protocol(spec, Traffic::Http) == Some(BackendProtocol::Http2);
    let is_plain_http = traffic == Traffic::Grpc && says_http2;
    Ok(BackendPort {
        traffic: if is_plain_http {
            Traffic::Http
        } else {
            traffic
        },
        object,
        port: own,
    })
}

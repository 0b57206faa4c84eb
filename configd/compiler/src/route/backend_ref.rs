//! From backendRefs to ports of Services.

use tidegate_ir::BackendProtocol;

use super::{Dependency, Findings};
use crate::api::GATEWAY_GROUP;
use crate::api::meta::BackendObjectReference;
use crate::codes::{self, Code};
use crate::grants::Reference;
use crate::objects::{ObjectKey, Objects, Place};
use crate::service::{BackendPort, Unusable};

/// Why a backend cannot be used: reason of `ResolvedRefs`, and the message with the field.
pub(super) type Unresolved = (&'static str, String);

/// Follows references of one route and notes what it looked at.
pub(super) struct References<'a> {
    pub(super) objects: &'a Objects,
    pub(super) route: &'a ObjectKey,
    pub(super) dependencies: std::collections::BTreeSet<Dependency>,
    pub(super) backends: std::collections::BTreeSet<BackendPort>,
    /// The first reference that failed.
    pub(super) unresolved: Option<Unresolved>,
}

impl References<'_> {
    /// Whether the route's own calls are gRPC.
    pub(super) fn speaks_grpc(&self) -> bool {
        &*self.route.kind == "GRPCRoute"
    }

    /// The backend, or one sentence why there is none, after it has been reported; `grpc` says that
    /// it gets gRPC calls.
    pub(super) fn resolve(
        &mut self,
        reference: &BackendObjectReference,
        grpc: bool,
        field: &str,
        findings: &mut Findings<'_>,
    ) -> Result<BackendPort, String> {
        match self.follow(reference, grpc) {
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
        grpc: bool,
    ) -> Result<BackendPort, (&'static str, &'static Code, String)> {
        let BackendObjectReference {
            group, kind, name, ..
        } = reference;
        let own_namespace = &*self.route.namespace;
        let namespace = reference.namespace.as_deref().unwrap_or(own_namespace);
        let source = &self.route.source;
        if namespace != own_namespace {
            let grants = Place::new(source, namespace, "");
            self.dependencies.insert(Dependency::Grants(grants));
        }
        let permission = Reference {
            source,
            from_group: GATEWAY_GROUP,
            from_kind: &self.route.kind,
            from_namespace: own_namespace,
            to_group: group,
            to_kind: kind,
            to_namespace: namespace,
            to_name: name,
        };
        if !permission.is_permitted(self.objects) {
            let message = format!(
                "no ReferenceGrant in namespace {namespace} lets {}s of namespace {own_namespace} use {kind} {name}; create one there",
                self.route.kind
            );
            return Err(("RefNotPermitted", &codes::BACKEND_NOT_PERMITTED, message));
        }
        if (group.as_str(), kind.as_str()) != ("", "Service") {
            let message =
                format!("{kind} of group {group:?} is not supported as a backend; use a Service");
            return Err(("InvalidKind", &codes::BACKEND_KIND, message));
        }
        let place = Place::new(source, namespace, name);
        self.dependencies.insert(Dependency::Service(place.clone()));
        let not_found = |message| ("BackendNotFound", &codes::BACKEND_NOT_FOUND, message);
        let object = &place.object;
        let Some(service) = self.objects.services.get(&place) else {
            return Err(not_found(format!(
                "Service {object} does not exist; create it or correct the name"
            )));
        };
        let Some(port) = reference.port else {
            let message = format!(
                "Service {object} needs a port; {}",
                service.spec.port_list()
            );
            return Err(not_found(message));
        };
        match service.spec.protocol(port) {
            Ok(protocol) => Ok(BackendPort {
                service: place,
                port,
                grpc: grpc && protocol != BackendProtocol::Http2,
            }),
            Err(Unusable::NoSuchPort) => {
                let ports = service.spec.port_list();
                Err(not_found(format!(
                    "Service {object} has no port {port}; {ports}"
                )))
            }
            Err(Unusable::ExternalName) => {
                let message = format!(
                    "Service {object} is of type ExternalName, which is not supported because it can lead anywhere; use a Service with endpoints"
                );
                Err(("UnsupportedValue", &codes::BACKEND_KIND, message))
            }
            Err(Unusable::NotTcp) => {
                let message = format!("port {port} of Service {object} is not TCP; use a TCP port");
                Err(("UnsupportedProtocol", &codes::BACKEND_PROTOCOL, message))
            }
            Err(Unusable::AppProtocol) => {
                let message = format!(
                    "port {port} of Service {object} has appProtocol {}, which is not supported; use kubernetes.io/h2c, kubernetes.io/ws, http or none",
                    service.spec.app_protocol(port)
                );
                Err(("UnsupportedProtocol", &codes::BACKEND_PROTOCOL, message))
            }
        }
    }
}

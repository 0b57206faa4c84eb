//! Services and ServiceImports: what a reference to a port of one leads to.

use tidegate_ir::BackendProtocol;

use crate::api::core::{Service, ServicePort};
use crate::api::service_import::ServiceImport;

/// The part of a Service or ServiceImport that compiles.
#[derive(Debug)]
pub(crate) struct ServicePorts {
    external_name: bool,
    ports: Vec<ServicePort>,
}

/// Why a port cannot be a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    ExternalName,
    NoSuchPort,
    NotTcp,
    /// Its `appProtocol` is not known, or not one for that traffic.
    AppProtocol,
    /// Its `appProtocol` asks for TLS, and no BackendTLSPolicy says whom to trust.
    NeedsTls,
}

impl ServicePorts {
    pub(crate) fn of_service(service: Service) -> Self {
        Self {
            external_name: service.spec.type_.as_deref() == Some("ExternalName"),
            ports: service.spec.ports,
        }
    }

    pub(crate) fn of_import(import: ServiceImport) -> Self {
        Self {
            external_name: false,
            ports: import.spec.ports,
        }
    }

    /// How the port is spoken to; `grpc` says that it gets gRPC calls, `with_tls` that a policy asks for TLS.
    ///
    /// The names are those of GEP-1911 and of the registry of IANA.
    pub(crate) fn protocol(
        &self,
        port: u16,
        grpc: bool,
        with_tls: bool,
    ) -> Result<BackendProtocol, Unusable> {
        use BackendProtocol::{Http1, Http2};
        if self.external_name {
            return Err(Unusable::ExternalName);
        }
        let app_protocol = self.tcp_port(port)?.app_protocol.as_deref();
        let needs_tls = matches!(app_protocol, Some("https" | "HTTPS" | "kubernetes.io/wss"));
        if needs_tls && !with_tls {
            return Err(Unusable::NeedsTls);
        }
        match (app_protocol, grpc) {
            (Some("kubernetes.io/h2c" | "grpc"), _) => Ok(Http2),
            (None | Some("http" | "HTTP" | "https" | "HTTPS"), true) => Ok(Http2),
            (None | Some("http" | "HTTP" | "https" | "HTTPS"), false) => Ok(Http1),
            (Some("kubernetes.io/ws" | "kubernetes.io/wss"), false) => Ok(Http1),
            _ => Err(Unusable::AppProtocol),
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
        list(self.ports.iter().map(|port| port.port.to_string()))
    }

    /// The names of the ports, for messages.
    pub(crate) fn port_names(&self) -> String {
        list(self.ports.iter().filter_map(|port| port.name.clone()))
    }

    pub(crate) fn has_port_named(&self, name: &str) -> bool {
        let mut ports = self.ports.iter();
        ports.any(|port| port.name.as_deref() == Some(name))
    }

    /// The name of a port, empty if it has none; `None` if there is no such port.
    pub(crate) fn port_name(&self, port: u16) -> Option<&str> {
        let port = self.tcp_port(port).ok()?;
        Some(port.name.as_deref().unwrap_or_default())
    }

    fn tcp_port(&self, number: u16) -> Result<&ServicePort, Unusable> {
        let mut ports = self.ports.iter().filter(|port| port.port == number);
        if ports.clone().next().is_none() {
            return Err(Unusable::NoSuchPort);
        }
        let is_tcp = |port: &&ServicePort| port.protocol.as_deref().unwrap_or("TCP") == "TCP";
        ports.find(is_tcp).ok_or(Unusable::NotTcp)
    }
}

fn list(each: impl Iterator<Item = String>) -> String {
    let each: Vec<String> = each.collect();
    match each.as_slice() {
        [] => "it has none".to_owned(),
        each => format!("it has {}", each.join(", ")),
    }
}

//! Services and ServiceImports: what a reference to a port of one leads to.

use tidegate_ir::BackendProtocol;

use crate::api::core::{Service, ServicePort};
use crate::api::service_import::ServiceImport;
use crate::backend_object::{Traffic, Transport};

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
    /// The port is one of another transport protocol.
    OtherTransport,
    /// Its `appProtocol` is not known, or not one for that traffic.
    AppProtocol,
    /// Its `appProtocol` asks for TLS, and no BackendTLSPolicy says whom to trust.
    NeedsTls,
    /// A BackendTLSPolicy asks for TLS, which cannot protect datagrams.
    NoTlsForDatagrams,
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

    /// How the port is spoken to; `with_tls` says that a policy asks for TLS.
    pub(crate) fn protocol(
        &self,
        port: u16,
        traffic: Traffic,
        with_tls: bool,
    ) -> Result<BackendProtocol, Unusable> {
        if self.external_name {
            return Err(Unusable::ExternalName);
        }
        let own = self.port(port, traffic.transport())?;
        match traffic {
            Traffic::Http => http_version(own, false, with_tls),
            Traffic::Grpc => http_version(own, true, with_tls),
            // Whatever the bytes are, they go through as they come.
            Traffic::Tcp => Ok(BackendProtocol::Tcp),
            Traffic::Udp if with_tls => Err(Unusable::NoTlsForDatagrams),
            Traffic::Udp => Ok(BackendProtocol::Udp),
        }
    }

    /// The `appProtocol` of a port, for messages.
    pub(crate) fn app_protocol(&self, port: u16) -> &str {
        let port = self.port(port, Transport::Tcp).ok();
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
    pub(crate) fn port_name(&self, port: u16, transport: Transport) -> Option<&str> {
        let port = self.port(port, transport).ok()?;
        Some(port.name.as_deref().unwrap_or_default())
    }

    fn port(&self, number: u16, transport: Transport) -> Result<&ServicePort, Unusable> {
        let mut ports = self.ports.iter().filter(|port| port.port == number);
        if ports.clone().next().is_none() {
            return Err(Unusable::NoSuchPort);
        }
        let wanted = transport.name();
        let fits = |port: &&ServicePort| port.protocol.as_deref().unwrap_or("TCP") == wanted;
        ports.find(fits).ok_or(Unusable::OtherTransport)
    }
}

/// The version of HTTP that a port speaks. The names are those of GEP-1911 and of the registry of IANA.
fn http_version(
    port: &ServicePort,
    grpc: bool,
    with_tls: bool,
) -> Result<BackendProtocol, Unusable> {
    use BackendProtocol::{Http1, Http2};
    let app_protocol = port.app_protocol.as_deref();
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

fn list(each: impl Iterator<Item = String>) -> String {
    let each: Vec<String> = each.collect();
    match each.as_slice() {
        [] => "it has none".to_owned(),
        each => format!("it has {}", each.join(", ")),
    }
}

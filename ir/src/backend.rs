//! Where requests go: one port of a Service, and the addresses behind it.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::{
    BackendTls, Balancing, ConnectionLimits, Ejection, ObjectName, PartKey, PartKind, PartName,
    RetryBudget, SessionPersistence,
};

/// One port of a Service, ServiceImport or XBackend, with the policies on it settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// Name of the part: source, kind unless that is Service, namespace, name, port, and `grpc`, `tcp` or
    /// `udp` where only such routes make it speak that protocol, joined by `/`.
    pub name: PartName,
    /// Kind of the object.
    pub kind: BackendKind,
    /// The object.
    pub object: ObjectName,
    /// Port of the object, not of the endpoints.
    pub port: u16,
    /// What it is sent.
    pub protocol: BackendProtocol,
    /// What protects the connections to it.
    pub security: Security,
    /// Where its addresses come from.
    pub destination: Destination,
    /// How an endpoint is chosen.
    pub balancing: Balancing,
    /// Bounds on what it is given, per worker.
    pub limits: ConnectionLimits,
    /// When an endpoint that fails is left out; `None` means never.
    pub ejection: Option<Ejection>,
    /// How many of the requests may be retries; `None` means no bound but the rule's attempts.
    pub retry_budget: Option<RetryBudget>,
    /// Keeps a client at one endpoint; a rule's own persistence goes first.
    pub session: Option<SessionPersistence>,
    /// The PROXY header that each connection begins with; only for [`BackendProtocol::Tcp`].
    pub proxy_protocol: Option<ProxyVersion>,
}

/// Form of a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Kind of the object that a backend is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum BackendKind {
    /// Service.
    Service,
    /// ServiceImport (GEP-1748).
    ServiceImport,
    /// XBackend (GEP-4894).
    XBackend,
}

/// What a backend is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum BackendProtocol {
    /// HTTP/1.1; over TLS with ALPN `http/1.1`.
    Http1,
    /// HTTP/2: with prior knowledge in plain, with ALPN `h2` over TLS.
    Http2,
    /// Bytes of TCP connections; over TLS without ALPN.
    Tcp,
    /// UDP datagrams.
    Udp,
}

/// What protects the connections to a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Security {
    /// Nothing.
    Plain,
    /// TLS.
    Tls(BackendTls),
    /// TLS is asked for and cannot be set up: requests get 500, never plain text. Holds the reason.
    Broken(Arc<str>),
}

/// Where the addresses of a backend come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Destination {
    /// From the [`EndpointSet`] part with that name.
    Endpoints(PartName),
    /// From the DNS, asked by the worker.
    Dns {
        /// Lower case, without a trailing dot.
        hostname: Arc<str>,
        /// Port at the addresses.
        port: u16,
    },
}

/// Addresses behind one port of a Service, apart from it so that a pod's restart travels alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointSet {
    /// Name of the part.
    pub name: PartName,
    /// Ordered by address, without duplicates; empty means that requests get 503.
    pub endpoints: Vec<Endpoint>,
}

/// One address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Endpoint {
    /// IP address and port.
    pub address: SocketAddr,
    /// Takes no new work unless nothing else is left.
    pub draining: bool,
}

impl Backend {
    /// A port of a Service in plain HTTP/1.1, without any policy; its endpoints bear its name.
    pub fn of_service(name: impl Into<PartName>, service: ObjectName, port: u16) -> Self {
        let name = name.into();
        Self {
            destination: Destination::Endpoints(name.clone()),
            name,
            kind: BackendKind::Service,
            object: service,
            port,
            protocol: BackendProtocol::Http1,
            security: Security::Plain,
            balancing: Balancing::RoundRobin,
            limits: ConnectionLimits::default(),
            ejection: None,
            retry_budget: None,
            session: None,
            proxy_protocol: None,
        }
    }

    pub(crate) fn references(&self) -> Vec<PartKey> {
        let endpoints = match &self.destination {
            Destination::Endpoints(name) => Some(PartKey::new(PartKind::EndpointSet, name.clone())),
            Destination::Dns { .. } => None,
        };
        let tls = match &self.security {
            Security::Tls(tls) => tls.references(),
            Security::Plain | Security::Broken(_) => vec![],
        };
        endpoints.into_iter().chain(tls).collect()
    }
}

impl BackendKind {
    /// The `kind` of the Kubernetes object.
    pub fn object_kind(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::ServiceImport => "ServiceImport",
            Self::XBackend => "XBackend",
        }
    }
}

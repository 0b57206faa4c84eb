//! Where requests go: one port of a Service, and the addresses behind it.

use std::net::SocketAddr;

use serde::Serialize;

use crate::{ObjectName, PartName};

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// Name of the part: source, namespace, name and port, joined by `/`.
    pub name: PartName,
    /// The Service.
    pub service: ObjectName,
    /// Port of the Service, not of the endpoints.
    pub port: u16,
    /// How it is spoken to.
    pub protocol: BackendProtocol,
    /// Name of an [`EndpointSet`] part.
    pub endpoints: PartName,
}

/// How a backend is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    H2c,
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

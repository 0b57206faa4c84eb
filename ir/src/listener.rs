//! A listener of a Gateway, with conflicts and defaults settled.

use std::sync::Arc;

use serde::Serialize;

use crate::{Hostname, ObjectName, PartKey, PartKind, PartName};

/// One listener that a worker serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Name of the part: Gateway namespace, Gateway name and section name, joined by `/`.
    pub name: PartName,
    /// The Gateway that it belongs to.
    pub gateway: ObjectName,
    /// Name of the listener inside the Gateway.
    pub section_name: Arc<str>,
    /// The port as the Gateway states it; redirects and logs use it.
    pub port: u16,
    /// The port that the worker binds; differs where Gateways share a pool.
    pub bind_port: u16,
    /// The hosts that it serves.
    pub hostname: Hostname,
    /// How bytes on the port are read.
    pub protocol: ListenerProtocol,
}

/// How bytes on a listener's port are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ListenerProtocol {
    /// HTTP/1.1, and HTTP/2 with prior knowledge.
    Http,
    /// HTTP behind TLS that ends at the worker.
    Https {
        /// Names of [`crate::Certificate`] parts, in the order of the listener; may be empty, then
        /// no handshake succeeds.
        certificates: Vec<PartName>,
    },
}

impl Listener {
    pub(crate) fn references(&self) -> Vec<PartKey> {
        match &self.protocol {
            ListenerProtocol::Http => vec![],
            ListenerProtocol::Https { certificates } => certificates
                .iter()
                .map(|name| PartKey::new(PartKind::Certificate, name.clone()))
                .collect(),
        }
    }
}

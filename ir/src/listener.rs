//! A listener of a Gateway, with conflicts and defaults settled.

use std::sync::Arc;

use serde::Serialize;

use crate::{Edge, Filter, Hostname, ObjectName, PartKey, PartKind, PartName};

/// One listener that a worker serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Name of the part: Gateway namespace, Gateway name and section name, joined by `/`; where a
    /// ListenerSet holds it, `ListenerSet`, its namespace and its name stand before the section name.
    pub name: PartName,
    /// The Gateway that it belongs to.
    pub gateway: ObjectName,
    /// The ListenerSet that holds it, `None` for the Gateway itself (GEP-1713).
    pub listener_set: Option<ObjectName>,
    /// Name of the listener inside the Gateway or the ListenerSet.
    pub section_name: Arc<str>,
    /// The port as the Gateway states it; redirects and logs use it.
    pub port: u16,
    /// The port that the worker binds; differs where Gateways share a pool.
    pub bind_port: u16,
    /// The hosts that it serves.
    pub hostname: Hostname,
    /// How bytes on the port are read.
    pub protocol: ListenerProtocol,
    /// Run before a route is looked for, in this order (GEP-5224).
    pub filters: Vec<Filter>,
    /// Name of the [`crate::Certificate`] part that is shown to TLS backends (GEP-3155).
    pub backend_client_certificate: Option<PartName>,
    /// How clients are met; the same for all listeners of `bind_port`.
    pub edge: Box<Edge>,
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
        /// What is asked of clients' certificates.
        client_validation: Option<ClientValidation>,
    },
    /// Whatever is inside of TLS, chosen by the server name in the ClientHello.
    Tls(TlsMode),
    /// Bytes of TCP connections.
    Tcp,
    /// Datagrams; the port is bound apart from a TCP port of the same number.
    Udp,
}

/// Where the TLS of a [`ListenerProtocol::Tls`] ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum TlsMode {
    /// At the backend.
    Passthrough,
    /// At the worker; the bytes inside go on.
    Terminate {
        /// As for [`ListenerProtocol::Https`].
        certificates: Vec<PartName>,
        /// What is asked of clients' certificates.
        client_validation: Option<ClientValidation>,
    },
}

/// What is asked of clients' certificates (GEP-91).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientValidation {
    /// Name of the [`crate::TrustBundle`] part that must have signed them.
    pub trust: PartName,
    /// Asks for a certificate, and lets clients in whatever they show.
    pub insecure_fallback: bool,
}

impl ListenerProtocol {
    /// Names of the certificates, and what is asked of clients' ones; `None` where no TLS ends at the
    /// worker.
    pub fn ends_tls_with(&self) -> Option<(&[PartName], Option<&ClientValidation>)> {
        match self {
            Self::Https {
                certificates,
                client_validation,
            }
            | Self::Tls(TlsMode::Terminate {
                certificates,
                client_validation,
            }) => Some((certificates, client_validation.as_ref())),
            Self::Http | Self::Tls(TlsMode::Passthrough) | Self::Tcp | Self::Udp => None,
        }
    }

    /// Its name, as a Gateway states it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https { .. } => "HTTPS",
            Self::Tls(_) => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    /// Whether HTTP requests are what it serves.
    pub fn is_http(&self) -> bool {
        matches!(self, Self::Http | Self::Https { .. })
    }
}

impl Listener {
    pub(crate) fn references(&self) -> Vec<PartKey> {
        let (certificates, trust) = self.protocol.ends_tls_with().unwrap_or_default();
        let certificates = certificates
            .iter()
            .chain(&self.backend_client_certificate)
            .map(|name| PartKey::new(PartKind::Certificate, name.clone()));
        let trust = trust.map(|asked| PartKey::new(PartKind::TrustBundle, asked.trust.clone()));
        let filters = self.filters.iter().filter_map(Filter::reference);
        certificates.chain(trust).chain(filters).collect()
    }
}

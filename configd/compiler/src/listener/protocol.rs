//! Protocols of listeners: which routes they serve, and which of them can share a port.

use crate::api::gateway as api;
use crate::backend_object::Transport;
use crate::route::RouteKind;

/// A protocol that workers serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Https,
    /// TLS that ends at the worker, with any bytes inside.
    TlsTerminate,
    /// TLS that ends at the backend.
    TlsPassthrough,
    Tcp,
    Udp,
}

/// What listeners of one port have in common; those of different classes cannot share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PortClass {
    /// Told apart by the host of the request.
    Http,
    /// Told apart by the server name of the ClientHello.
    Tls,
    Tcp,
    Udp,
}

impl Protocol {
    /// The protocol of a listener; `None` for one that is not supported.
    pub(super) fn of(listener: &api::Listener) -> Option<Self> {
        let mode = listener.tls.as_ref().and_then(|tls| tls.mode.as_deref());
        match listener.protocol.as_str() {
            "HTTP" => Some(Self::Http),
            "HTTPS" => Some(Self::Https),
            "TLS" if mode == Some("Passthrough") => Some(Self::TlsPassthrough),
            "TLS" => Some(Self::TlsTerminate),
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            _ => None,
        }
    }

    /// The kinds of routes that can attach.
    pub(super) fn route_kinds(self) -> &'static [RouteKind] {
        match self {
            Self::Http | Self::Https => &[RouteKind::HTTP, RouteKind::GRPC],
            Self::TlsTerminate | Self::TlsPassthrough => &[RouteKind::TLS],
            Self::Tcp => &[RouteKind::TCP],
            Self::Udp => &[RouteKind::UDP],
        }
    }

    /// Whether TLS ends at the worker, so that it needs certificates.
    pub(super) fn ends_tls(self) -> bool {
        matches!(self, Self::Https | Self::TlsTerminate)
    }

    pub(super) fn port_class(self) -> PortClass {
        match self {
            Self::Http => PortClass::Http,
            Self::Https | Self::TlsTerminate | Self::TlsPassthrough => PortClass::Tls,
            Self::Tcp => PortClass::Tcp,
            Self::Udp => PortClass::Udp,
        }
    }

    /// What its port is a port of.
    pub(crate) fn transport(self) -> Transport {
        match self.port_class() {
            PortClass::Http | PortClass::Tls | PortClass::Tcp => Transport::Tcp,
            PortClass::Udp => Transport::Udp,
        }
    }
}

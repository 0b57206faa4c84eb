//! Listeners of a Gateway: what each may serve, and what is wrong with it.

pub(crate) mod certificates;
pub(crate) mod conflict;
mod namespaces;
mod planning;
mod protocol;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_ir::{
    Edge, Filter, Hostname, Listener, ListenerProtocol, ObjectName, PartName, TlsMode,
};

use crate::backend_object::{BackendPort, Transport};
use crate::frontend::Asked;
use crate::objects::ObjectKey;
use crate::route::RouteKind;
use crate::tls;

pub(crate) use namespaces::AllowedNamespaces;
pub(crate) use planning::{Held, plan_all};
pub(crate) use protocol::Protocol;

/// A listener with its conflicts, defaults and references settled.
#[derive(Debug, Clone)]
pub(crate) struct ListenerPlan {
    /// What routes see of it.
    pub(crate) view: ListenerView,
    /// The port that the worker binds.
    pub(crate) bind_port: u16,
    /// Kinds of routes that may attach.
    pub(crate) supported_kinds: Vec<RouteKind>,
    /// Certificates that it presents, in the order of the object.
    pub(crate) certificates: Vec<tls::CertificateUse>,
    /// What it asks of clients.
    pub(crate) asked: Option<Asked>,
    /// Run before a route is looked for.
    filters: Vec<Filter>,
    /// Ports of Services that the filters refer to.
    pub(crate) backends: BTreeSet<BackendPort>,
    /// The object that holds it, and its place there.
    key: ObjectKey,
    field: String,
    /// `None` for one that is not supported.
    protocol: Option<Protocol>,
    /// The same as the object states it.
    protocol_name: String,
    refused: Option<Refusal>,
    unresolved: Option<(&'static str, String)>,
    unusable: bool,
    overlap: Option<String>,
    /// Why clients will refuse its certificates.
    mismatch: Option<String>,
}

/// What routes see of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerView {
    pub(crate) holder: Holder,
    /// Namespace of the holder: what `Same` means for routes.
    pub(crate) namespace: Arc<str>,
    pub(crate) section_name: Arc<str>,
    pub(crate) part_name: PartName,
    pub(crate) port: u16,
    pub(crate) hostname: Hostname,
    /// Whether it is part of the snapshot.
    pub(crate) served: bool,
    /// Kinds of routes that may attach.
    pub(crate) kinds: Vec<RouteKind>,
    pub(crate) from: AllowedNamespaces,
}

/// The object that holds a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    Gateway,
    ListenerSet(ObjectName),
}

/// Why a listener is not accepted.
#[derive(Debug, Clone)]
struct Refusal {
    reason: &'static str,
    conflict: bool,
    message: String,
}

impl ListenerPlan {
    /// Whether the specification's `Accepted` is true.
    pub(crate) fn is_accepted(&self) -> bool {
        self.refused.is_none()
    }

    /// What its port is a port of.
    pub(crate) fn transport(&self) -> Transport {
        self.protocol.map_or(Transport::Tcp, Protocol::transport)
    }

    /// Whether requests can get through it.
    pub(crate) fn is_usable(&self) -> bool {
        self.refused.is_none() && !self.unusable
    }

    /// Whether it serves all that it should.
    pub(crate) fn is_sound(&self) -> bool {
        self.refused.is_none() && self.unresolved.is_none()
    }

    /// Whether all its references are resolved.
    pub(crate) fn is_resolved(&self) -> bool {
        self.unresolved.is_none()
    }

    /// The part that the worker gets.
    pub(crate) fn part(
        &self,
        gateway: ObjectName,
        backend_client_certificate: Option<PartName>,
        edge: Edge,
    ) -> Listener {
        let protocol = self.served_protocol();
        // UDP has no connections that an edge could speak of.
        let edge = match protocol {
            ListenerProtocol::Udp => Edge::default(),
            _ => edge,
        };
        Listener {
            name: self.view.part_name.clone(),
            gateway,
            listener_set: match &self.view.holder {
                Holder::Gateway => None,
                Holder::ListenerSet(set) => Some(set.clone()),
            },
            section_name: self.view.section_name.clone(),
            port: self.view.port,
            bind_port: self.bind_port,
            hostname: self.view.hostname.clone(),
            protocol,
            filters: self.filters.clone(),
            backend_client_certificate,
            edge: Box::new(edge),
        }
    }

    fn served_protocol(&self) -> ListenerProtocol {
        let certificates = self.certificates.iter();
        let certificates = || certificates.map(|used| used.part_name.clone()).collect();
        match self.protocol.expect("one without a protocol is refused") {
            Protocol::Http => ListenerProtocol::Http,
            Protocol::Https => ListenerProtocol::Https {
                certificates: certificates(),
                client_validation: self.asked.as_ref().and_then(Asked::validation),
            },
            Protocol::TlsTerminate => ListenerProtocol::Tls(TlsMode::Terminate {
                certificates: certificates(),
                client_validation: None,
            }),
            Protocol::TlsPassthrough => ListenerProtocol::Tls(TlsMode::Passthrough),
            Protocol::Tcp => ListenerProtocol::Tcp,
            Protocol::Udp => ListenerProtocol::Udp,
        }
    }
}

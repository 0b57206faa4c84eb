//! One route of connections or datagrams, with its references, hostnames and defaults resolved.

use std::sync::Arc;

use serde::Serialize;

use crate::{Attachment, ObjectName, PartKey, PartKind, PartName, RouteOrder, Target};

/// One TLSRoute, TCPRoute or UDPRoute; each has exactly one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct L4Route {
    /// Which kind of object it comes from.
    pub kind: L4RouteKind,
    /// The object.
    pub object: ObjectName,
    /// Creation time in seconds since 1970-01-01 UTC.
    pub created_at_unix_s: i64,
    /// The listeners that serve it. The hosts of a TLSRoute are server names; those of the other kinds
    /// claim every host.
    pub attachments: Vec<Attachment>,
    /// Name that the user gave the rule.
    pub rule_name: Option<Arc<str>>,
    /// At least one; the weights sum to more than 0.
    pub choices: Vec<L4Choice>,
}

/// Kind of a route object of layer 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum L4RouteKind {
    /// TLSRoute.
    Tls,
    /// TCPRoute.
    Tcp,
    /// UDPRoute.
    Udp,
}

/// One choice of a route of layer 4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct L4Choice {
    /// Share of the sum of weights, 0 to 1,000,000.
    pub weight: u32,
    /// Where the share goes; at a fault, connections are reset and datagrams dropped.
    pub target: Target,
}

impl L4Route {
    /// Name of the part: kind, namespace and name, joined by `/`.
    pub fn part_name(&self) -> PartName {
        format!("{}/{}", self.kind.object_kind(), self.object).into()
    }

    /// Which of two equally specific routes wins: the older one, then the one that comes first by name.
    pub fn order(&self) -> RouteOrder {
        RouteOrder::of_l4(self.created_at_unix_s, self.object.clone())
    }

    pub(crate) fn references(&self) -> Vec<PartKey> {
        let listeners = self
            .attachments
            .iter()
            .map(|attachment| PartKey::new(PartKind::Listener, attachment.listener.clone()));
        let backends = self.choices.iter().filter_map(L4Choice::backend);
        let backends = backends.map(|name| PartKey::new(PartKind::Backend, name.clone()));
        listeners.chain(backends).collect()
    }
}

impl L4Choice {
    /// Name of the backend that the share goes to, if it goes to one.
    pub fn backend(&self) -> Option<&PartName> {
        match &self.target {
            Target::Backend(name) => Some(name),
            Target::Fault(_) => None,
        }
    }
}

impl L4RouteKind {
    /// The `kind` of the Kubernetes object.
    pub fn object_kind(self) -> &'static str {
        match self {
            Self::Tls => "TLSRoute",
            Self::Tcp => "TCPRoute",
            Self::Udp => "UDPRoute",
        }
    }
}

//! Kinds of route objects, of any layer.

use tidegate_ir::{L4RouteKind, PartKind, RouteKind as L7RouteKind};

use crate::backend_object::Traffic;

/// Kind of a route object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RouteKind {
    /// HTTPRoute and GRPCRoute, whose rules look into requests.
    L7(L7RouteKind),
    /// TLSRoute, TCPRoute and UDPRoute, which carry bytes.
    L4(L4RouteKind),
}

impl RouteKind {
    pub(crate) const HTTP: Self = Self::L7(L7RouteKind::Http);
    pub(crate) const GRPC: Self = Self::L7(L7RouteKind::Grpc);
    pub(crate) const TLS: Self = Self::L4(L4RouteKind::Tls);
    pub(crate) const TCP: Self = Self::L4(L4RouteKind::Tcp);
    pub(crate) const UDP: Self = Self::L4(L4RouteKind::Udp);

    /// The kind with that `kind` of the Kubernetes object.
    pub(crate) fn named(kind: &str) -> Option<Self> {
        let all = [Self::HTTP, Self::GRPC, Self::TLS, Self::TCP, Self::UDP];
        all.into_iter().find(|own| own.object_kind() == kind)
    }

    /// The `kind` of the Kubernetes object.
    pub(crate) fn object_kind(self) -> &'static str {
        match self {
            Self::L7(kind) => kind.object_kind(),
            Self::L4(kind) => kind.object_kind(),
        }
    }

    /// What a route of that kind becomes.
    pub(crate) fn part_kind(self) -> PartKind {
        match self {
            Self::L7(_) => PartKind::Route,
            Self::L4(_) => PartKind::L4Route,
        }
    }

    /// What its backends get.
    pub(crate) fn traffic(self) -> Traffic {
        match self {
            Self::L7(L7RouteKind::Http) => Traffic::Http,
            Self::L7(L7RouteKind::Grpc) => Traffic::Grpc,
            Self::L4(L4RouteKind::Tls | L4RouteKind::Tcp) => Traffic::Tcp,
            Self::L4(L4RouteKind::Udp) => Traffic::Udp,
        }
    }
}

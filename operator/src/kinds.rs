//! The kinds of objects that configd is fed with, and the versions of them that it reads.

/// What GatewayClasses of an installation name as their controller, unless it is told otherwise.
pub(crate) const CONTROLLER_NAME: &str = "tidegate.dev/gateway-controller";

/// Gateway API.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// Its experimental kinds.
pub(crate) const EXPERIMENTAL_GROUP: &str = "gateway.networking.x-k8s.io";
/// Our own kinds.
pub(crate) const OWN_GROUP: &str = "tidegate.dev";

/// A kind of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Kind, such as `HTTPRoute`.
    pub kind: &'static str,
    /// Versions that are read, the best first.
    pub versions: &'static [&'static str],
}

const fn kind(group: &'static str, kind: &'static str, versions: &'static [&'static str]) -> Kind {
    Kind {
        group,
        kind,
        versions,
    }
}

/// All of them; those that the cluster does not serve are awaited.
pub const KINDS: [Kind; 22] = [
    kind(GATEWAY_GROUP, "GatewayClass", &["v1", "v1beta1"]),
    kind(GATEWAY_GROUP, "Gateway", &["v1", "v1beta1"]),
    kind(GATEWAY_GROUP, "ListenerSet", &["v1"]),
    kind(GATEWAY_GROUP, "HTTPRoute", &["v1", "v1beta1"]),
    kind(GATEWAY_GROUP, "GRPCRoute", &["v1"]),
    kind(GATEWAY_GROUP, "TLSRoute", &["v1"]),
    kind(GATEWAY_GROUP, "TCPRoute", &["v1"]),
    kind(GATEWAY_GROUP, "UDPRoute", &["v1"]),
    kind(GATEWAY_GROUP, "BackendTLSPolicy", &["v1"]),
    kind(GATEWAY_GROUP, "ReferenceGrant", &["v1", "v1beta1"]),
    kind(EXPERIMENTAL_GROUP, "XBackend", &["v1alpha1"]),
    kind(EXPERIMENTAL_GROUP, "XBackendTrafficPolicy", &["v1alpha1"]),
    kind(OWN_GROUP, "GatewayParameters", &["v1alpha1"]),
    kind(OWN_GROUP, "BackendPolicy", &["v1alpha1"]),
    kind(
        "multicluster.x-k8s.io",
        "ServiceImport",
        &["v1beta1", "v1alpha1"],
    ),
    kind(
        "certificates.k8s.io",
        "ClusterTrustBundle",
        &["v1beta1", "v1alpha1"],
    ),
    kind("discovery.k8s.io", "EndpointSlice", &["v1"]),
    kind("", "Namespace", &["v1"]),
    kind("", "Service", &["v1"]),
    kind("", "Secret", &["v1"]),
    kind("", "ConfigMap", &["v1"]),
    kind("", "Pod", &["v1"]),
];

//! The Gateway API v1.7 objects, and the few core ones, as they are written in YAML.
//!
//! Enumerations stay texts: the specification wants an unknown value to become a condition, not an error.

pub(crate) mod backend_policy;
pub(crate) mod backend_tls_policy;
pub(crate) mod core;
pub(crate) mod gateway;
pub(crate) mod gateway_parameters;
pub(crate) mod grpc_route;
pub(crate) mod http_filter;
pub(crate) mod http_route;
pub(crate) mod l4_route;
pub(crate) mod listener_set;
pub(crate) mod meta;
pub(crate) mod quantity;
pub(crate) mod reference_grant;
pub(crate) mod service_import;
pub(crate) mod traffic_policy;
pub(crate) mod x_backend;

/// API group of the Gateway API.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// API group of the Gateway API's experiments.
pub(crate) const EXPERIMENTAL_GROUP: &str = "gateway.networking.x-k8s.io";
/// API group of ServiceImport.
pub(crate) const MULTICLUSTER_GROUP: &str = "multicluster.x-k8s.io";
/// API group of ClusterTrustBundle.
pub(crate) const CERTIFICATES_GROUP: &str = "certificates.k8s.io";
/// Our own API group.
pub(crate) const OWN_GROUP: &str = "tidegate.dev";

//! The Gateway API v1.7 objects, and the few core ones, as they are written in YAML.
//!
//! Enumerations stay texts: the specification wants an unknown value to become a condition, not an error.

pub(crate) mod core;
pub(crate) mod gateway;
pub(crate) mod http_route;
pub(crate) mod meta;
pub(crate) mod reference_grant;

/// API group of the Gateway API.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

//! TLSRoute, TCPRoute and UDPRoute.

use serde::Deserialize;

use super::http_route::one;
use super::meta::{BackendObjectReference, ParentReference, service, tight};

/// `TLSRoute.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TlsRouteSpec {
    #[serde(default, deserialize_with = "tight")]
    pub(crate) parent_refs: Vec<ParentReference>,
    pub(crate) use_default_gateways: Option<String>,
    #[serde(default, deserialize_with = "tight")]
    pub(crate) hostnames: Vec<String>,
    #[serde(default, deserialize_with = "tight")]
    pub(crate) rules: Vec<L4RouteRule>,
}

/// `TCPRoute.spec` and `UDPRoute.spec`, which have the same fields.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PortRouteSpec {
    #[serde(default, deserialize_with = "tight")]
    pub(crate) parent_refs: Vec<ParentReference>,
    pub(crate) use_default_gateways: Option<String>,
    #[serde(default, deserialize_with = "tight")]
    pub(crate) rules: Vec<L4RouteRule>,
}

/// The only rule of such a route.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct L4RouteRule {
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "tight")]
    pub(crate) backend_refs: Vec<L4BackendRef>,
}

/// A backend with its share of the connections or flows.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct L4BackendRef {
    #[serde(default)]
    pub(crate) group: String,
    #[serde(default = "service")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) port: Option<u16>,
    #[serde(default = "one")]
    pub(crate) weight: i64,
}

impl L4BackendRef {
    /// The reference without its weight.
    pub(crate) fn target(&self) -> BackendObjectReference {
        BackendObjectReference {
            group: self.group.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            port: self.port,
        }
    }
}

//! GRPCRoute.

use serde::Deserialize;

use super::http_filter::{HttpHeaderFilter, HttpRequestMirrorFilter};
use super::http_route::{HttpValueMatch, exact, one};
use super::meta::{
    BackendObjectReference, LocalObjectReference, ParentReference, SessionPersistence, service,
    tight,
};

/// `GRPCRoute.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GrpcRouteSpec {
    #[serde(default, deserialize_with = "tight")]
    pub(crate) parent_refs: Vec<ParentReference>,
    pub(crate) use_default_gateways: Option<String>,
    #[serde(default, deserialize_with = "tight")]
    pub(crate) hostnames: Vec<String>,
    #[serde(default, deserialize_with = "tight")]
    pub(crate) rules: Vec<GrpcRouteRule>,
}

/// One rule.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct GrpcRouteRule {
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "tight")]
    pub(crate) matches: Vec<GrpcRouteMatch>,
    pub(crate) filters: Vec<GrpcRouteFilter>,
    #[serde(deserialize_with = "tight")]
    pub(crate) backend_refs: Vec<GrpcBackendRef>,
    pub(crate) session_persistence: Option<SessionPersistence>,
}

/// Conditions that must all hold.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct GrpcRouteMatch {
    pub(crate) method: Option<GrpcMethodMatch>,
    pub(crate) headers: Vec<HttpValueMatch>,
}

/// A condition on service and method, at least one of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GrpcMethodMatch {
    #[serde(rename = "type", default = "exact")]
    pub(crate) type_: String,
    pub(crate) service: Option<String>,
    pub(crate) method: Option<String>,
}

/// One filter; `type` says which of the other fields is set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GrpcRouteFilter {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) request_header_modifier: Option<HttpHeaderFilter>,
    pub(crate) response_header_modifier: Option<HttpHeaderFilter>,
    pub(crate) request_mirror: Option<HttpRequestMirrorFilter>,
    pub(crate) extension_ref: Option<LocalObjectReference>,
}

/// A backend with its share of the calls.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GrpcBackendRef {
    #[serde(default)]
    pub(crate) group: String,
    #[serde(default = "service")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) port: Option<u16>,
    #[serde(default = "one")]
    pub(crate) weight: i64,
    #[serde(default)]
    pub(crate) filters: Vec<GrpcRouteFilter>,
}

impl GrpcBackendRef {
    /// The reference without weight and filters.
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

//! HTTPRoute.

use serde::Deserialize;

use super::http_filter::HttpRouteFilter;
use super::meta::{BackendObjectReference, ParentReference, SessionPersistence, service, tight};

/// `HTTPRoute.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpRouteSpec {
    #[serde(default, deserialize_with = "tight")]
    pub(crate) parent_refs: Vec<ParentReference>,
    pub(crate) use_default_gateways: Option<String>,
    #[serde(default, deserialize_with = "tight")]
    pub(crate) hostnames: Vec<String>,
    #[serde(default = "one_rule", deserialize_with = "tight")]
    pub(crate) rules: Vec<HttpRouteRule>,
}

fn one_rule() -> Vec<HttpRouteRule> {
    vec![HttpRouteRule::default()]
}

/// One rule.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HttpRouteRule {
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "tight")]
    pub(crate) matches: Vec<HttpRouteMatch>,
    pub(crate) filters: Vec<HttpRouteFilter>,
    #[serde(deserialize_with = "tight")]
    pub(crate) backend_refs: Vec<HttpBackendRef>,
    pub(crate) timeouts: Option<HttpRouteTimeouts>,
    pub(crate) retry: Option<HttpRouteRetry>,
    pub(crate) session_persistence: Option<SessionPersistence>,
}

/// Durations are GEP-2257 texts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HttpRouteTimeouts {
    pub(crate) request: Option<String>,
    pub(crate) backend_request: Option<String>,
}

/// Conditions that must all hold.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HttpRouteMatch {
    pub(crate) path: Option<HttpPathMatch>,
    pub(crate) headers: Vec<HttpValueMatch>,
    pub(crate) query_params: Vec<HttpValueMatch>,
    pub(crate) method: Option<String>,
}

/// A condition on the path.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpPathMatch {
    #[serde(rename = "type", default = "path_prefix")]
    pub(crate) type_: String,
    #[serde(default = "root")]
    pub(crate) value: String,
}

fn path_prefix() -> String {
    "PathPrefix".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

/// A condition on a header or a query parameter.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpValueMatch {
    #[serde(rename = "type", default = "exact")]
    pub(crate) type_: String,
    pub(crate) name: String,
    pub(crate) value: String,
}

pub(super) fn exact() -> String {
    "Exact".to_owned()
}

/// What is tried again; a missing number of attempts means 1.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HttpRouteRetry {
    pub(crate) codes: Vec<i64>,
    pub(crate) attempts: Option<i64>,
    pub(crate) backoff: Option<String>,
}

/// A backend with its share of the requests.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpBackendRef {
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
    pub(crate) filters: Vec<HttpRouteFilter>,
}

pub(super) fn one() -> i64 {
    1
}

impl HttpBackendRef {
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

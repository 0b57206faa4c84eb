//! HTTPRoute.

use serde::Deserialize;
use serde_json::Value;

use super::meta::{BackendObjectReference, ParentReference, service};

/// `HTTPRoute.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpRouteSpec {
    #[serde(default)]
    pub(crate) parent_refs: Vec<ParentReference>,
    pub(crate) use_default_gateways: Option<String>,
    #[serde(default)]
    pub(crate) hostnames: Vec<String>,
    #[serde(default = "one_rule")]
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
    pub(crate) matches: Vec<HttpRouteMatch>,
    pub(crate) filters: Vec<HttpRouteFilter>,
    pub(crate) backend_refs: Vec<HttpBackendRef>,
    pub(crate) timeouts: Option<HttpRouteTimeouts>,
    pub(crate) retry: Option<Value>,
    pub(crate) session_persistence: Option<Value>,
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

fn exact() -> String {
    "Exact".to_owned()
}

/// One filter; `type` says which of the other fields is set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpRouteFilter {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) request_header_modifier: Option<HttpHeaderFilter>,
    pub(crate) response_header_modifier: Option<HttpHeaderFilter>,
    pub(crate) request_mirror: Option<HttpRequestMirrorFilter>,
    pub(crate) request_redirect: Option<HttpRequestRedirectFilter>,
    pub(crate) url_rewrite: Option<HttpUrlRewriteFilter>,
    pub(crate) cors: Option<Value>,
    pub(crate) external_auth: Option<Value>,
    pub(crate) extension_ref: Option<Value>,
}

/// Changes of headers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HttpHeaderFilter {
    pub(crate) set: Vec<HttpHeader>,
    pub(crate) add: Vec<HttpHeader>,
    pub(crate) remove: Vec<String>,
}

/// A header.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpHeader {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// A copy of a share of the requests; `percent` or `fraction`, else all.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpRequestMirrorFilter {
    pub(crate) backend_ref: BackendObjectReference,
    pub(crate) percent: Option<i64>,
    pub(crate) fraction: Option<Fraction>,
}

/// A share.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Fraction {
    pub(crate) numerator: i64,
    #[serde(default = "hundred")]
    pub(crate) denominator: i64,
}

fn hundred() -> i64 {
    100
}

/// Sends the client elsewhere.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpRequestRedirectFilter {
    pub(crate) scheme: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) path: Option<HttpPathModifier>,
    pub(crate) port: Option<u16>,
    #[serde(default = "found")]
    pub(crate) status_code: u16,
}

fn found() -> u16 {
    302
}

/// Changes host and path of the forwarded request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HttpUrlRewriteFilter {
    pub(crate) hostname: Option<String>,
    pub(crate) path: Option<HttpPathModifier>,
}

/// Changes the path; `type` says which of the other fields is set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpPathModifier {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) replace_full_path: Option<String>,
    pub(crate) replace_prefix_match: Option<String>,
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

fn one() -> i64 {
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

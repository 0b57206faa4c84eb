//! The filters of HTTPRoutes; GRPCRoutes and listeners use some of them, too.

use serde::Deserialize;

use super::meta::{BackendObjectReference, LocalObjectReference};

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
    pub(crate) cors: Option<HttpCorsFilter>,
    pub(crate) external_auth: Option<HttpExternalAuthFilter>,
    pub(crate) extension_ref: Option<LocalObjectReference>,
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

/// Which other origins may read answers (GEP-1767).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpCorsFilter {
    #[serde(default)]
    pub(crate) allow_origins: Vec<String>,
    #[serde(default)]
    pub(crate) allow_credentials: bool,
    #[serde(default)]
    pub(crate) allow_methods: Vec<String>,
    #[serde(default)]
    pub(crate) allow_headers: Vec<String>,
    #[serde(default)]
    pub(crate) expose_headers: Vec<String>,
    /// In seconds.
    #[serde(default = "five")]
    pub(crate) max_age: i64,
}

fn five() -> i64 {
    5
}

/// A server that is asked before a request is let through (GEP-1494).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpExternalAuthFilter {
    pub(crate) protocol: String,
    pub(crate) backend_ref: BackendObjectReference,
    pub(crate) grpc: Option<GrpcAuthConfig>,
    pub(crate) http: Option<HttpAuthConfig>,
    pub(crate) forward_body: Option<ForwardBodyConfig>,
}

/// How an authorization server is asked by gRPC.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct GrpcAuthConfig {
    pub(crate) allowed_headers: Vec<String>,
}

/// How an authorization server is asked by HTTP.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HttpAuthConfig {
    pub(crate) path: String,
    pub(crate) allowed_headers: Vec<String>,
    pub(crate) allowed_response_headers: Vec<String>,
}

/// How much of the body goes along; 0 means none.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ForwardBodyConfig {
    pub(crate) max_size: i64,
}

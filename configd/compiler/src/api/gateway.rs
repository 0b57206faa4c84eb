//! GatewayClass and Gateway.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::http_filter::HttpExternalAuthFilter;
use super::meta::{
    LabelSelector, LocalObjectReference, ObjectReference, ParametersReference,
    SecretObjectReference,
};
use crate::parameters::LastParameters;

/// `GatewayClass.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewayClassSpec {
    pub(crate) controller_name: String,
    pub(crate) parameters_ref: Option<ParametersReference>,
    #[serde(rename = "description")]
    pub(crate) _description: Option<String>,
}

/// `Gateway.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewaySpec {
    pub(crate) gateway_class_name: String,
    #[serde(default)]
    pub(crate) listeners: Vec<Listener>,
    #[serde(default)]
    pub(crate) addresses: Vec<GatewayAddress>,
    pub(crate) infrastructure: Option<GatewayInfrastructure>,
    pub(crate) allowed_listeners: Option<AllowedListeners>,
    pub(crate) tls: Option<GatewayTls>,
    pub(crate) default_scope: Option<String>,
    /// From an annotation: by which parameters it was served last.
    #[serde(skip)]
    pub(crate) last_parameters: Option<Box<LastParameters>>,
}

/// What of a Gateway's metadata compiles.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GatewayMeta {
    annotations: GatewayAnnotations,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GatewayAnnotations {
    /// Whoever runs the workers writes it into what it sends.
    #[serde(rename = "tidegate.dev/last-parameters")]
    last_parameters: Option<String>,
}

impl GatewaySpec {
    /// With what the metadata remember.
    pub(crate) fn remembering(self, metadata: &GatewayMeta) -> Self {
        let text = metadata.annotations.last_parameters.as_deref();
        let last_parameters = text.and_then(LastParameters::read).map(Box::new);
        Self {
            last_parameters,
            ..self
        }
    }
}

/// Which ListenerSets may attach.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AllowedListeners {
    pub(crate) namespaces: Option<ListenerNamespaces>,
}

/// From which namespaces ListenerSets may attach; none if nothing is said.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListenerNamespaces {
    pub(crate) from: Option<String>,
    pub(crate) selector: Option<LabelSelector>,
}

/// TLS of the whole Gateway, towards backends and clients.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewayTls {
    pub(crate) backend: Option<GatewayBackendTls>,
    pub(crate) frontend: Option<FrontendTls>,
}

/// What is shown to backends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewayBackendTls {
    pub(crate) client_certificate_ref: Option<SecretObjectReference>,
}

/// What is asked of clients, for all ports and for some.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FrontendTls {
    pub(crate) default: FrontendTlsConfig,
    #[serde(default)]
    pub(crate) per_port: Vec<FrontendTlsPort>,
}

/// What is asked of clients on one port.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FrontendTlsPort {
    pub(crate) port: u16,
    pub(crate) tls: FrontendTlsConfig,
}

/// What is asked of clients.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct FrontendTlsConfig {
    pub(crate) validation: Option<FrontendValidation>,
}

/// Which certificates of clients are good (GEP-91).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FrontendValidation {
    #[serde(rename = "caCertificateRefs")]
    pub(crate) ca_certificate_refs: Vec<ObjectReference>,
    #[serde(default = "allow_valid_only")]
    pub(crate) mode: String,
}

fn allow_valid_only() -> String {
    "AllowValidOnly".to_owned()
}

/// Filters that run before a route is looked for (GEP-5224).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ListenerFilters {
    pub(crate) requests: Vec<ListenerFilter>,
}

/// One filter; `type` says which of the other fields is set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListenerFilter {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) external_auth: Option<HttpExternalAuthFilter>,
    pub(crate) extension_ref: Option<LocalObjectReference>,
}

/// An address that the user asks for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewayAddress {
    #[serde(rename = "type", default = "ip_address")]
    pub(crate) type_: String,
    #[serde(default)]
    pub(crate) value: String,
    pub(crate) routability: Option<String>,
}

fn ip_address() -> String {
    "IPAddress".to_owned()
}

/// How the generated resources look.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewayInfrastructure {
    #[serde(rename = "labels", default)]
    pub(crate) _labels: BTreeMap<String, String>,
    #[serde(rename = "annotations", default)]
    pub(crate) _annotations: BTreeMap<String, String>,
    pub(crate) parameters_ref: Option<LocalObjectReference>,
}

/// One listener.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) hostname: Option<String>,
    pub(crate) port: u16,
    pub(crate) protocol: String,
    pub(crate) tls: Option<ListenerTls>,
    pub(crate) allowed_routes: Option<AllowedRoutes>,
    pub(crate) filters: Option<ListenerFilters>,
}

/// How a listener ends TLS.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListenerTls {
    pub(crate) mode: Option<String>,
    #[serde(default)]
    pub(crate) certificate_refs: Vec<SecretObjectReference>,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

/// Which routes may attach.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AllowedRoutes {
    pub(crate) namespaces: Option<RouteNamespaces>,
    pub(crate) kinds: Option<Vec<RouteGroupKind>>,
}

/// From which namespaces routes may attach.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RouteNamespaces {
    pub(crate) from: Option<String>,
    pub(crate) selector: Option<LabelSelector>,
}

/// A kind of route.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RouteGroupKind {
    #[serde(default = "gateway_group")]
    pub(crate) group: String,
    pub(crate) kind: String,
}

fn gateway_group() -> String {
    super::GATEWAY_GROUP.to_owned()
}

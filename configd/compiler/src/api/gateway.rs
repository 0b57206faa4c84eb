//! GatewayClass and Gateway.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::meta::{LabelSelector, ParametersReference, SecretObjectReference};

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
    pub(crate) allowed_listeners: Option<Value>,
    pub(crate) tls: Option<Value>,
    pub(crate) default_scope: Option<String>,
}

/// An address that the user asks for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewayAddress {
    #[serde(rename = "type", default = "ip_address")]
    pub(crate) type_: String,
    #[serde(default)]
    pub(crate) value: String,
    #[serde(rename = "routability")]
    pub(crate) _routability: Option<String>,
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
    pub(crate) parameters_ref: Option<ParametersReference>,
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
    pub(crate) filters: Option<Value>,
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

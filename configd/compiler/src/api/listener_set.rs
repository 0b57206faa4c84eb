//! ListenerSet (GEP-1713).

use serde::Deserialize;

use super::gateway::Listener;

/// `ListenerSet.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListenerSetSpec {
    pub(crate) parent_ref: ParentGatewayReference,
    pub(crate) listeners: Vec<Listener>,
}

/// Names the Gateway that a ListenerSet attaches to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ParentGatewayReference {
    #[serde(default = "gateway_group")]
    pub(crate) group: String,
    #[serde(default = "gateway_kind")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

fn gateway_group() -> String {
    super::GATEWAY_GROUP.to_owned()
}

fn gateway_kind() -> String {
    "Gateway".to_owned()
}

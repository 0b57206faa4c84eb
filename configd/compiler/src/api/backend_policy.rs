//! BackendPolicy, our own: balancing, limits, ejection and PROXY headers for a backend.

use serde::Deserialize;

use super::meta::PolicyTargetReference;

/// `BackendPolicy.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BackendPolicySpec {
    pub(crate) target_refs: Vec<PolicyTargetReference>,
    pub(crate) load_balancing: Option<LoadBalancing>,
    pub(crate) connections: Option<Connections>,
    pub(crate) ejection: Option<PolicyEjection>,
    /// V1 or V2.
    pub(crate) proxy_protocol: Option<String>,
}

/// How an endpoint is chosen: RoundRobin, LeastRequest or RingHash with what is hashed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LoadBalancing {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) hash_on: Option<HashOn>,
}

/// What is hashed: ClientIP, Header or Cookie; the latter two by name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HashOn {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) name: Option<String>,
}

/// Bounds for one worker.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Connections {
    pub(crate) max_connections: Option<i64>,
    pub(crate) max_pending_requests: Option<i64>,
    pub(crate) max_requests: Option<i64>,
}

/// When an endpoint that fails is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct PolicyEjection {
    pub(crate) disabled: bool,
    pub(crate) consecutive_errors: Option<i64>,
    pub(crate) base_ejection_time: Option<String>,
    pub(crate) max_ejected_percent: Option<i64>,
    pub(crate) panic_threshold_percent: Option<i64>,
}

//! XBackendTrafficPolicy (GEP-3388).

use serde::Deserialize;

use super::meta::{PolicyTargetReference, SessionPersistence};

/// `XBackendTrafficPolicy.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TrafficPolicySpec {
    pub(crate) target_refs: Vec<PolicyTargetReference>,
    pub(crate) retry_constraint: Option<RetryConstraint>,
    pub(crate) session_persistence: Option<SessionPersistence>,
}

/// How many requests may be retries.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RetryConstraint {
    pub(crate) budget: Option<BudgetDetails>,
    pub(crate) min_retry_rate: Option<RequestRate>,
}

/// A share of the requests of an interval.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct BudgetDetails {
    pub(crate) percent: Option<i64>,
    pub(crate) interval: Option<String>,
}

/// A number of requests in an interval.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RequestRate {
    pub(crate) count: Option<i64>,
    pub(crate) interval: Option<String>,
}

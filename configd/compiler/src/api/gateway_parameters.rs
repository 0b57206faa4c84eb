//! GatewayParameters, our own: how the clients of a Gateway are met.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::quantity::Quantity;

/// `GatewayParameters.spec`; what it leaves open is up to the GatewayClass's, then to the worker.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct GatewayParametersSpec {
    pub(crate) clients: ClientParameters,
    pub(crate) paths: PathParameters,
    pub(crate) limits: LimitParameters,
    pub(crate) workers: WorkerParameters,
}

/// What the workers are like, which is the operator's business but for who shares them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WorkerParameters {
    /// PerGateway or Shared.
    pub(crate) sharing: Option<String>,
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
}

/// Whose word about a client counts, and what backends are told.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ClientParameters {
    /// 0 trusts nobody.
    pub(crate) trusted_hops: Option<i64>,
    /// An empty list trusts nobody.
    #[serde(rename = "trustedCIDRs")]
    pub(crate) trusted_cidrs: Option<Vec<String>>,
    pub(crate) proxy_protocol: Option<ProxyProtocolParameters>,
    pub(crate) send_via: Option<bool>,
}

/// Whether connections begin with a PROXY header: Required or Disabled, on some ports or on all.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ProxyProtocolParameters {
    #[serde(default = "required")]
    pub(crate) mode: String,
    #[serde(default)]
    pub(crate) ports: Vec<u16>,
}

fn required() -> String {
    "Required".to_owned()
}

/// How paths are read.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct PathParameters {
    pub(crate) merge_slashes: Option<bool>,
}

/// How much a client may take, of one worker.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct LimitParameters {
    pub(crate) request_line_bytes: Option<Quantity>,
    pub(crate) header_bytes: Option<Quantity>,
    pub(crate) header_count: Option<i64>,
    /// 0 takes the bound away.
    pub(crate) body_bytes: Option<Quantity>,
    pub(crate) body_pace: Option<PaceParameters>,
    pub(crate) header_timeout: Option<String>,
    pub(crate) idle_timeout: Option<String>,
    /// `0s` takes the bound away.
    pub(crate) request_timeout: Option<String>,
    pub(crate) handshake_timeout: Option<String>,
    pub(crate) write_stall_timeout: Option<String>,
    pub(crate) connections: Option<i64>,
    /// 0 takes the bound away.
    pub(crate) connections_per_client: Option<i64>,
}

/// Bytes of a body that must come in each period; 0 asks for nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PaceParameters {
    pub(crate) bytes: Quantity,
    pub(crate) period: String,
}

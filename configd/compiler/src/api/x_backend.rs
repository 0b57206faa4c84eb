//! XBackend (GEP-4894).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::backend_tls_policy::BackendTlsPolicyValidation;
use super::meta::{SecretObjectReference, SessionPersistence};

/// `XBackend.spec`; `type` says which of `external_hostname` and `endpoint_selector` is set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct XBackendSpec {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) port: XBackendPort,
    pub(crate) external_hostname: Option<ExternalHostname>,
    pub(crate) endpoint_selector: Option<EndpointSelector>,
    pub(crate) session_persistence: Option<SessionPersistence>,
    pub(crate) protocol: Option<String>,
    pub(crate) tls: Option<XBackendTls>,
}

/// The port of a backend.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct XBackendPort {
    pub(crate) number: u16,
}

/// A host outside of the cluster.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExternalHostname {
    pub(crate) hostname: String,
}

/// Chooses Pods of the namespace.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EndpointSelector {
    pub(crate) match_labels: BTreeMap<String, String>,
}

/// How connections to a backend are protected.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct XBackendTls {
    pub(crate) mode: String,
    pub(crate) client_certificate_ref: Option<SecretObjectReference>,
    pub(crate) validation: Option<BackendTlsPolicyValidation>,
}

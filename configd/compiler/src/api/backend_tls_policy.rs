//! BackendTLSPolicy (GEP-1897).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::meta::{LocalObjectReference, PolicyTargetReference};

/// `BackendTLSPolicy.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BackendTlsPolicySpec {
    pub(crate) target_refs: Vec<PolicyTargetReference>,
    pub(crate) validation: BackendTlsPolicyValidation,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

/// What a backend's certificate must be; `ca_certificate_refs` or `well_known_ca_certificates`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BackendTlsPolicyValidation {
    #[serde(rename = "caCertificateRefs", default)]
    pub(crate) ca_certificate_refs: Vec<LocalObjectReference>,
    #[serde(rename = "wellKnownCACertificates")]
    pub(crate) well_known_ca_certificates: Option<String>,
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) subject_alt_names: Vec<SubjectAltName>,
}

/// A name that a certificate can be for; `type` says which of the other fields is set.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SubjectAltName {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    #[serde(default)]
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) uri: String,
}

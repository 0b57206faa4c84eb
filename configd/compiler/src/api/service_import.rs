//! ServiceImport (GEP-1748).

use serde::Deserialize;

/// A ServiceImport; only the fields that compile are read.
#[derive(Debug, Deserialize)]
pub(crate) struct ServiceImport {
    #[serde(default)]
    pub(crate) spec: ServiceImportSpec,
}

/// `ServiceImport.spec`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceImportSpec {
    pub(crate) ports: Vec<super::core::ServicePort>,
}

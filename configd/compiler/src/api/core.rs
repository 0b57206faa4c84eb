//! The core objects that a Gateway needs: Namespace, Service, EndpointSlice, Secret and some more.
//!
//! Only fields that compile are read; the many others are Kubernetes' business.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::meta::ObjectMeta;

/// A Namespace.
#[derive(Debug, Deserialize)]
pub(crate) struct Namespace {
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
}

/// A Service.
#[derive(Debug, Deserialize)]
pub(crate) struct Service {
    #[serde(default)]
    pub(crate) spec: ServiceSpec,
}

/// `Service.spec`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceSpec {
    #[serde(rename = "type")]
    pub(crate) type_: Option<String>,
    pub(crate) ports: Vec<ServicePort>,
}

/// One port of a Service.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServicePort {
    pub(crate) name: Option<String>,
    pub(crate) port: u16,
    pub(crate) protocol: Option<String>,
    pub(crate) app_protocol: Option<String>,
}

/// An EndpointSlice.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointSlice {
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) address_type: String,
    #[serde(default)]
    pub(crate) endpoints: Vec<SliceEndpoint>,
    #[serde(default)]
    pub(crate) ports: Vec<SlicePort>,
}

/// One endpoint of a slice.
#[derive(Debug, Deserialize)]
pub(crate) struct SliceEndpoint {
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    #[serde(default)]
    pub(crate) conditions: SliceConditions,
}

/// Whether an endpoint can be used; a missing `ready` means yes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SliceConditions {
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

/// A port that all endpoints of a slice have.
#[derive(Debug, Deserialize)]
pub(crate) struct SlicePort {
    pub(crate) name: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Option<String>,
}

/// A Secret; it does not print.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Secret {
    #[serde(default)]
    pub(crate) metadata: SecretMeta,
    #[serde(rename = "type")]
    pub(crate) type_: Option<String>,
    /// Base64.
    #[serde(default)]
    pub(crate) data: BTreeMap<String, String>,
    /// Plain text, as files may have it.
    #[serde(default)]
    pub(crate) string_data: BTreeMap<String, String>,
}

/// What of a Secret's metadata compiles.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct SecretMeta {
    pub(crate) annotations: SecretAnnotations,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct SecretAnnotations {
    /// It is gone at its source, and this is what it was last.
    #[serde(rename = "tidegate.dev/deleted")]
    pub(crate) deleted: Option<String>,
}

/// A ConfigMap; only the entry with certificates of authorities is read.
#[derive(Debug, Deserialize)]
pub(crate) struct ConfigMap {
    #[serde(default)]
    pub(crate) data: ConfigMapData,
}

/// The entry of a ConfigMap that compiles.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ConfigMapData {
    /// PEM.
    #[serde(rename = "ca.crt")]
    pub(crate) authorities: Option<String>,
}

/// A ClusterTrustBundle (certificates.k8s.io).
#[derive(Debug, Deserialize)]
pub(crate) struct ClusterTrustBundle {
    pub(crate) spec: ClusterTrustBundleSpec,
}

/// `ClusterTrustBundle.spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterTrustBundleSpec {
    /// PEM.
    pub(crate) trust_bundle: String,
}

/// A Pod.
#[derive(Debug, Deserialize)]
pub(crate) struct Pod {
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) status: PodStatus,
}

/// `Pod.status`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    #[serde(rename = "podIPs")]
    pub(crate) pod_ips: Vec<PodIp>,
    pub(crate) conditions: Vec<PodCondition>,
}

/// An address of a Pod.
#[derive(Debug, Deserialize)]
pub(crate) struct PodIp {
    pub(crate) ip: String,
}

/// A condition of a Pod.
#[derive(Debug, Deserialize)]
pub(crate) struct PodCondition {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) status: String,
}

//! Which version of the Gateway API the cluster has, as the CRDs say (GEP-2162's `SupportedVersion`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tracing::warn;

use crate::error::chain;
use crate::kinds::{EXPERIMENTAL_GROUP, GATEWAY_GROUP};

/// Versions whose objects configd reads.
const SUPPORTED: &str = "v1.7.";

/// Says which version a CRD is of.
const ANNOTATION: &str = "gateway.networking.k8s.io/bundle-version";

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(30);

/// The versions of the CRDs that are there; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bundle {
    versions: Arc<Mutex<BTreeSet<String>>>,
}

impl Bundle {
    /// Looks again and again until it is dropped; `changed` is called where something is different.
    pub(crate) async fn follow(self, client: Client, changed: impl Fn()) {
        let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        let resource = ApiResource::from_gvk(&kind);
        let crds: Api<DynamicObject> = Api::all_with(client, &resource);
        let mut said = String::new();
        loop {
            match crds.list_metadata(&ListParams::default()).await {
                Ok(list) => {
                    said.clear();
                    let of_gateway_api = list.items.into_iter().map(|crd| crd.metadata);
                    let of_gateway_api = of_gateway_api.filter(|meta| {
                        let name = meta.name.as_deref().unwrap_or_default();
                        let group = name.split_once('.').map_or("", |(_, group)| group);
                        [GATEWAY_GROUP, EXPERIMENTAL_GROUP].contains(&group)
                    });
                    let versions = of_gateway_api.map(|meta| {
                        let annotation = meta.annotations.as_ref();
                        let version = annotation.and_then(|all| all.get(ANNOTATION));
                        version.cloned().unwrap_or_else(|| "unknown".to_owned())
                    });
                    if self.set(versions.collect()) {
                        changed();
                    }
                }
                Err(error) => {
                    let cause = chain(&error);
                    if cause != said {
                        warn!(
                            cause,
                            "The versions of the CRDs cannot be read; SupportedVersion is taken on trust."
                        );
                        said = cause;
                    }
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn set(&self, versions: BTreeSet<String>) -> bool {
        let mut known = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = *known != versions;
        if differs && versions.iter().any(|version| !is_supported(version)) {
            let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
            let versions = versions.join(", ");
            warn!(versions, "The CRDs are of another version than v1.7.");
        }
        *known = versions;
        differs
    }

    /// Corrects the status of a GatewayClass where the CRDs are of another version.
    pub(super) fn correct(&self, status: &mut Value) {
        let known = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let other = known.iter().filter(|version| !is_supported(version));
        let other: Vec<&str> = other.map(String::as_str).collect();
        if other.is_empty() {
            return;
        }
        let message = format!(
            "CRDs of the Gateway API are of version {}, read as far as v1.7 has their fields; install those of v1.7",
            other.join(", ")
        );
        let conditions = status["conditions"].as_array_mut().into_iter().flatten();
        for condition in conditions.filter(|one| one["type"] == "SupportedVersion") {
            condition["status"] = json!("False");
            condition["reason"] = json!("UnsupportedVersion");
            condition["message"] = json!(message);
        }
    }
}

fn is_supported(version: &str) -> bool {
    version.starts_with(SUPPORTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crds_of_another_version_are_named() {
        let bundle = Bundle::default();
        let status = json!({"conditions": [{"type": "SupportedVersion", "status": "True"}]});
        let corrected = |bundle: &Bundle| {
            let mut status = status.clone();
            bundle.correct(&mut status);
            status["conditions"][0].clone()
        };
        assert_eq!(corrected(&bundle)["status"], "True");
        assert!(bundle.set(BTreeSet::from(["v1.7.0".to_owned()])));
        assert_eq!(corrected(&bundle)["status"], "True");
        let both = BTreeSet::from(["v1.5.1".to_owned(), "v1.7.0".to_owned()]);
        assert!(bundle.set(both.clone()));
        assert!(!bundle.set(both));
        let condition = corrected(&bundle);
        assert_eq!(condition["reason"], "UnsupportedVersion");
        let message = condition["message"].as_str().expect("a text");
        assert!(message.contains("version v1.5.1,"), "{message}");
    }
}

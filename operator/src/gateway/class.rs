//! The finalizer of a GatewayClass: the class stays while Gateways have it.

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Mirror, Observed, Resources};
use crate::key::ObjectKey;
use crate::kinds::GATEWAY_GROUP;

/// As the specification names it.
const FINALIZER: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

/// The finalizers that a class should have, if they differ from those that it has.
pub(crate) fn finalizers(class: &Value, is_used: bool) -> Option<Vec<String>> {
    let known = class["metadata"]["finalizers"].as_array();
    let known = known.into_iter().flatten();
    let mut names: Vec<String> = known
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let has_it = names.iter().any(|name| name == FINALIZER);
    match (has_it, is_used) {
        (false, true) => names.push(FINALIZER.to_owned()),
        (true, false) => names.retain(|name| name != FINALIZER),
        _ => return None,
    }
    Some(names)
}

/// Whether a Gateway has the class.
pub(super) fn is_used(mirror: &Mirror, class: &ObjectKey) -> bool {
    let mut gateways = mirror.objects.of_kind(GATEWAY_GROUP, "Gateway").into_iter();
    gateways.any(|(_, gateway)| gateway.whole["spec"]["gatewayClassName"] == *class.name)
}

/// Sets the finalizers; a class that changed meanwhile is left for the next look.
pub(super) async fn set_finalizers(
    client: &Client,
    resources: &Resources,
    (key, class): (&ObjectKey, &Observed),
    names: &[String],
) -> Result<(), kube::Error> {
    let Some(api) = resources.api(client, key) else {
        return Ok(());
    };
    let version = &class.resource_version;
    let patch = json!({"metadata": {"resourceVersion": version, "finalizers": names}});
    let params = PatchParams::default();
    match api.patch(&key.name, &params, &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(()),
        patched => patched.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_is_used_stays() {
        let plain = json!({"metadata": {"finalizers": ["example.com/x"]}});
        let both = finalizers(&plain, true).expect("it is added");
        assert_eq!(both, ["example.com/x", FINALIZER]);
        let used = json!({"metadata": {"finalizers": both}});
        assert_eq!(finalizers(&used, true), None);
        assert_eq!(
            finalizers(&used, false),
            Some(vec!["example.com/x".to_owned()])
        );
        assert_eq!(finalizers(&plain, false), None);
    }
}

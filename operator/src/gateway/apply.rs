//! Makes objects of the cluster as they were built: by server-side apply, and only what belongs to its Gateways.

use std::collections::BTreeMap;

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use super::names::MANAGER;

/// The kinds of objects that a pool has, with group, version and the name in paths.
const KINDS: [(&str, &str, &str, &str); 7] = [
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "Service", "services"),
    (
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
    ),
    ("apps", "v1", "Deployment", "deployments"),
    (
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
    ),
    (
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    ),
];

/// Generations by kind; 0 where a kind has none.
pub(super) type Generations = BTreeMap<String, i64>;

/// How objects of a kind are addressed; `None` where pools have none of it.
pub(super) fn resource_of(kind: &str) -> Option<ApiResource> {
    let known = KINDS.iter().find(|(_, _, known, _)| *known == kind);
    let (group, version, kind, plural) = known?;
    let kind = GroupVersionKind::gvk(group, version, kind);
    Some(ApiResource::from_gvk_with_plural(&kind, plural))
}

/// Why an object is not as it was built.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    /// Somebody else's object has its name.
    #[error("{kind} {name} exists and belongs to somebody else; remove it, or rename the Gateway")]
    Foreign {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
    },
    /// It is of a kind that pools do not have: a patch has changed that.
    #[error("a pool has no {0}; correct the patches of the GatewayParameters")]
    Kind(String),
    /// The API server refused or did not answer.
    #[error("{kind} {name} could not be {what}")]
    Call {
        /// What was to be done.
        what: &'static str,
        /// The kind.
        kind: String,
        /// The name.
        name: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Applies the objects of a pool.
pub(super) struct Applier<'c> {
    pub(super) client: &'c Client,
    pub(super) namespace: &'c str,
    /// Name of everything that the pool has.
    pub(super) name: &'c str,
    /// Those of the Gateways whose it is.
    pub(super) uids: &'c [String],
}

impl Applier<'_> {
    /// Applies the objects in their order, and removes those of the pool that are not among them; returns the generations
    /// of what is there now, by kind.
    pub(super) async fn apply_all(&self, objects: &[Value]) -> Result<Generations, ApplyError> {
        let mut generations = Generations::new();
        for object in objects {
            let kind = object["kind"].as_str().unwrap_or_default();
            generations.insert(kind.to_owned(), self.apply(kind, object).await?);
        }
        for (_, _, kind, _) in KINDS {
            if !objects.iter().any(|object| object["kind"] == kind) {
                self.remove(kind).await?;
            }
        }
        Ok(generations)
    }

    /// Removes everything that the pool has.
    pub(super) async fn remove_all(&self) -> Result<(), ApplyError> {
        for (_, _, kind, _) in KINDS.iter().rev() {
            self.remove(kind).await?;
        }
        Ok(())
    }

    async fn apply(&self, kind: &str, object: &Value) -> Result<i64, ApplyError> {
        let api = self.api(kind)?;
        if self.exists(&api, kind).await? == Some(false) {
            return Err(ApplyError::Foreign {
                kind: kind.to_owned(),
                name: self.name.to_owned(),
            });
        }
        let params = PatchParams::apply(MANAGER).force();
        let applied = api.patch(self.name, &params, &Patch::Apply(object)).await;
        applied
            .map(|applied| applied.metadata.generation.unwrap_or_default())
            .map_err(|source| self.failed("applied", kind, source))
    }

    async fn remove(&self, kind: &str) -> Result<(), ApplyError> {
        let api = self.api(kind)?;
        if self.exists(&api, kind).await? != Some(true) {
            return Ok(());
        }
        match api.delete(self.name, &DeleteParams::background()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(self.failed("removed", kind, source)),
        }
    }

    /// Whether an object of the name belongs to its Gateways; `None` where there is none.
    async fn exists(
        &self,
        api: &Api<DynamicObject>,
        kind: &str,
    ) -> Result<Option<bool>, ApplyError> {
        let found = api.get_metadata_opt(self.name).await;
        let found = found.map_err(|source| self.failed("read", kind, source))?;
        Ok(found.map(|found| {
            let mut owners = found.metadata.owner_references.iter().flatten();
            owners.any(|owner| self.uids.contains(&owner.uid))
        }))
    }

    fn api(&self, kind: &str) -> Result<Api<DynamicObject>, ApplyError> {
        let resource = resource_of(kind).ok_or_else(|| ApplyError::Kind(kind.to_owned()))?;
        let client = self.client.clone();
        Ok(Api::namespaced_with(client, self.namespace, &resource))
    }

    fn failed(&self, what: &'static str, kind: &str, source: kube::Error) -> ApplyError {
        ApplyError::Call {
            what,
            kind: kind.to_owned(),
            name: self.name.to_owned(),
            source: Box::new(source),
        }
    }
}

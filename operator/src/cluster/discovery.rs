//! Which kinds the cluster serves, in which version; those that appear later are followed from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::core::{ApiResource, DynamicObject};
use kube::discovery::{ApiGroup, Scope, oneshot, verbs};
use kube::{Api, Client};
use tidegate_runtime::tasks::Tasks;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Mirror, watch};
use crate::error::chain;
use crate::key::{GroupKind, ObjectKey};
use crate::kinds::{KINDS, Kind};

/// Time between two looks at what the cluster serves.
const INTERVAL: Duration = Duration::from_secs(5);

/// How objects of each kind are addressed at the API server; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resources {
    known: Arc<Mutex<BTreeMap<GroupKind, (ApiResource, Scope)>>>,
}

impl Resources {
    /// What reads and writes one object; `None` while its kind is not served.
    pub(crate) fn api(&self, client: &Client, key: &ObjectKey) -> Option<Api<DynamicObject>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (resource, scope) = known.get(&key.group_kind())?;
        Some(match scope {
            Scope::Cluster => Api::all_with(client.clone(), resource),
            Scope::Namespaced => Api::namespaced_with(client.clone(), &key.namespace, resource),
        })
    }

    /// Group and version under which a kind is followed.
    pub(crate) fn api_version(&self, kind: &GroupKind) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(kind)
            .map(|(resource, _)| resource.api_version.clone())
    }

    fn insert(&self, kind: GroupKind, resource: ApiResource, scope: Scope) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(kind, (resource, scope));
    }
}

/// Looks what the cluster serves, and starts to follow it.
pub(crate) struct Discovery {
    pub(crate) client: Client,
    pub(crate) mirror: Mirror,
    pub(crate) resources: Resources,
    pub(crate) tasks: Tasks,
    pub(crate) end: CancellationToken,
}

impl Discovery {
    /// Runs until the end.
    pub(crate) async fn run(self) {
        let mut followed: BTreeSet<GroupKind> = BTreeSet::new();
        let mut said = String::new();
        loop {
            match self.look(&mut followed).await {
                Ok(()) => {
                    self.mirror.set_discovered();
                    said.clear();
                }
                Err(error) => {
                    let cause = chain(&error);
                    if cause != said {
                        warn!(cause, "The API server does not say which kinds it serves.");
                        said = cause;
                    }
                }
            }
            let pause = tokio::time::sleep(INTERVAL);
            if self.end.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn look(&self, followed: &mut BTreeSet<GroupKind>) -> Result<(), kube::Error> {
        let missing = KINDS.iter().filter(|kind| !followed.contains(&name(kind)));
        let groups: BTreeSet<&str> = missing.map(|kind| kind.group).collect();
        for group in groups {
            let Some(served) = self.group(group).await? else {
                continue;
            };
            for kind in KINDS.iter().filter(|kind| kind.group == group) {
                let name = name(kind);
                if followed.contains(&name) {
                    continue;
                }
                if let Some((resource, scope)) = best_version(&served, kind) {
                    self.follow(&name, resource, scope);
                    followed.insert(name);
                }
            }
        }
        Ok(())
    }

    /// A group, `None` if the cluster has none of that name.
    async fn group(&self, name: &str) -> Result<Option<ApiGroup>, kube::Error> {
        match oneshot::group(&self.client, name).await {
            Ok(group) => Ok(Some(group)),
            Err(kube::Error::Discovery(_)) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn follow(&self, name: &GroupKind, resource: ApiResource, scope: Scope) {
        let version = resource.api_version.clone();
        info!(kind = %name.1, version, "Objects are followed.");
        self.resources.insert(name.clone(), resource.clone(), scope);
        self.mirror.set_unlisted(name, "the list has not come yet");
        let watch = watch::follow(self.client.clone(), resource, self.mirror.clone());
        let end = self.end.clone();
        self.tasks.spawn("watch", async move {
            end.run_until_cancelled(watch).await;
        });
    }
}

fn name(kind: &Kind) -> GroupKind {
    (kind.group.into(), kind.kind.into())
}

/// The best version that is served and can be followed.
fn best_version(group: &ApiGroup, kind: &Kind) -> Option<(ApiResource, Scope)> {
    kind.versions.iter().find_map(|version| {
        let resources = group.versioned_resources(version).into_iter();
        let mut fitting = resources.filter(|(resource, can)| {
            resource.kind == kind.kind
                && can.supports_operation(verbs::LIST)
                && can.supports_operation(verbs::WATCH)
        });
        fitting.next().map(|(resource, can)| (resource, can.scope))
    })
}

//! Follows those objects of pools that nothing else follows, so that what somebody else changes or deletes comes back at once.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use tidegate_runtime::backoff::{Backoff, SplitMix64};
use tracing::warn;

use super::{apply, names};
use crate::error::chain;
use crate::key::ObjectKey;
use crate::table::Table;

/// Kinds that the mirror does not have. A ServiceAccount has nothing that could be changed.
const FOLLOWED: [&str; 4] = [
    "Deployment",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "PodDisruptionBudget",
];

/// The first and the longest pause after a failure.
const BACKOFF: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(60)];

/// What is there of them.
pub(crate) type Children = Table<Child>;

/// As much of an object as says whether somebody has changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    uid: String,
    /// Counts changes of its `spec`; 0 where the kind has none.
    pub(super) generation: i64,
}

/// Follows them until it is dropped. Where the operator may not, they come back with the next round.
pub(crate) async fn follow(client: Client, children: Children) {
    let each = FOLLOWED.map(|kind| follow_kind(client.clone(), kind, children.clone()));
    futures_util::future::join_all(each).await;
}

async fn follow_kind(client: Client, kind: &str, children: Children) {
    let Some(resource) = apply::resource_of(kind) else {
        return;
    };
    let group: Arc<str> = resource.group.as_str().into();
    let key = |meta: &PartialObjectMeta<DynamicObject>| {
        let namespace = meta.metadata.namespace.as_deref().unwrap_or_default();
        let name = meta.metadata.name.as_deref().unwrap_or_default();
        ObjectKey::new(&group, kind, namespace, name)
    };
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &resource);
    let label = format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGER);
    let mut events = pin!(watcher(api, Config::default().labels(&label)));
    let mut backoff = Backoff::new(BACKOFF[0], BACKOFF[1], SplitMix64::from_process());
    let (mut listed, mut said) = (BTreeSet::new(), String::new());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(found)) => {
                listed.insert(key(&found));
                note(&children, key(&found), &found);
            }
            Ok(Event::InitDone) => {
                let kind = (group.clone(), kind.into());
                children.retain_of_kind(&kind, &std::mem::take(&mut listed));
                backoff.reset();
                said.clear();
            }
            Ok(Event::Apply(found)) => note(&children, key(&found), &found),
            Ok(Event::Delete(found)) => children.set(&key(&found), None),
            Err(error) => {
                let cause = chain(&error);
                if cause != said {
                    warn!(
                        kind,
                        cause, "Objects of pools cannot be followed; each round looks after them."
                    );
                    said = cause;
                }
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

/// What differs in its status alone is no change.
fn note(children: &Children, key: ObjectKey, found: &PartialObjectMeta<DynamicObject>) {
    let child = Child {
        uid: found.metadata.uid.clone().unwrap_or_default(),
        generation: found.metadata.generation.unwrap_or_default(),
    };
    if children.get(&key).as_deref() != Some(&child) {
        children.set(&key, Some(Arc::new(child)));
    }
}

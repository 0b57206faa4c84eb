//! Follows the objects of one kind: a streaming list, then each change; pages where there are no streaming lists.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Client};
use tidegate_runtime::backoff::{Backoff, SplitMix64};
use tracing::{info, warn};

use super::{Mirror, Observed};
use crate::error::chain;
use crate::key::{GroupKind, ObjectKey};

/// The first and the longest pause after a failure.
const BACKOFF: [std::time::Duration; 2] = [
    std::time::Duration::from_millis(250),
    std::time::Duration::from_secs(15),
];

/// Follows them until it is dropped.
pub(super) async fn follow(client: Client, resource: ApiResource, mirror: Mirror) -> Infallible {
    let mut follower = Follower {
        kind: (
            resource.group.as_str().into(),
            resource.kind.as_str().into(),
        ),
        resource,
        mirror,
        list: None,
        backoff: Backoff::new(BACKOFF[0], BACKOFF[1], SplitMix64::from_process()),
        said: String::new(),
    };
    let mut config = Config::default().streaming_lists();
    loop {
        let api = Api::all_with(client.clone(), &follower.resource);
        follower.run(api, config).await;
        info!(kind = %follower.kind.1, "The API server has no streaming lists; pages are read instead.");
        config = Config::default();
    }
}

struct Follower {
    kind: GroupKind,
    resource: ApiResource,
    mirror: Mirror,
    /// What a list that is under way has brought.
    list: Option<BTreeSet<ObjectKey>>,
    backoff: Backoff,
    /// The last failure that was logged.
    said: String,
}

impl Follower {
    /// Follows until streaming lists turn out not to be served.
    async fn run(&mut self, api: Api<DynamicObject>, config: Config) {
        let mut events = pin!(watcher::watcher(api, config));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event),
                Err(error) if refuses_streaming(&error) => return,
                Err(error) => self.wait(&error).await,
            }
        }
    }

    fn take(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => self.list = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                let key = self.put(object);
                if let Some(list) = &mut self.list {
                    list.extend(key);
                }
            }
            Event::InitDone => {
                let list = self.list.take().unwrap_or_default();
                self.mirror.objects.retain_of_kind(&self.kind, &list);
                self.mirror.set_listed(&self.kind);
                self.recover();
            }
            Event::Apply(object) => {
                self.put(object);
                self.recover();
            }
            Event::Delete(object) => {
                if let Some((key, _)) = Observed::new(&self.resource, object) {
                    self.mirror.objects.set(&key, None);
                }
            }
        }
    }

    fn put(&self, object: DynamicObject) -> Option<ObjectKey> {
        let (key, observed) = Observed::new(&self.resource, object)?;
        let objects = &self.mirror.objects;
        // A list brings mostly what is known.
        if objects.get(&key).as_deref() != Some(&observed) {
            objects.set(&key, Some(Arc::new(observed)));
        }
        Some(key)
    }

    fn recover(&mut self) {
        self.backoff.reset();
        if !self.said.is_empty() {
            info!(kind = %self.kind.1, "Objects are followed again.");
            self.said.clear();
        }
    }

    async fn wait(&mut self, error: &watcher::Error) {
        let cause = explain(error);
        self.mirror.set_unlisted(&self.kind, &cause);
        if cause != self.said {
            warn!(kind = %self.kind.1, cause, "Objects cannot be followed; trying again.");
            self.said = cause;
        }
        tokio::time::sleep(self.backoff.next_delay()).await;
    }
}

/// The cause, and the way out where it is known.
fn explain(error: &watcher::Error) -> String {
    let status = status_of(error);
    match status {
        Some(status) if status.code == 403 => format!(
            "{}; give the operator's ClusterRole list and watch",
            status.message
        ),
        _ => chain(error),
    }
}

fn status_of(error: &watcher::Error) -> Option<&kube::core::Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

/// `sendInitialEvents` is a mistake to API servers without the feature.
fn refuses_streaming(error: &watcher::Error) -> bool {
    let watcher::Error::WatchStartFailed(kube::Error::Api(status)) = error else {
        return false;
    };
    matches!(status.code, 400 | 422) && status.message.contains("sendInitialEvents")
}

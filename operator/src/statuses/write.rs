//! Writes statuses: one object at a time each, several objects at once, and only what differs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Board, Bundle, Wanted, addresses, features, merge, transition};
use crate::agenda::Agenda;
use crate::cluster::{Mirror, Observed, Resources};
use crate::error::chain;
use crate::events::Events;
use crate::gateway::names;
use crate::key::ObjectKey;
use crate::kinds::GATEWAY_GROUP;
use crate::lease::Leadership;
use crate::metrics::OperatorMetrics;

/// Writes at a time.
const WRITES_MAX: usize = 16;
/// The same object is written at most so often.
const INTERVAL: Duration = Duration::from_millis(200);
/// Where only the number of routes changes, a status is written at most so often.
const COUNTS_INTERVAL: Duration = Duration::from_secs(5);
/// Pause after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Reads and writes of one object in a row, where others write it, too.
const TRIES_MAX: u32 = 5;

/// What writes; clones share it.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) mirror: Mirror,
    pub(crate) resources: Resources,
    pub(crate) board: Board,
    pub(crate) controller: Arc<str>,
    pub(crate) bundle: Bundle,
    pub(crate) events: Events,
    pub(crate) leadership: Leadership,
    pub(crate) metrics: OperatorMetrics,
}

/// What a write came to.
enum Written {
    /// Nothing more is to be done, until something changes.
    Done,
    /// The same, and nothing but numbers of routes was different.
    Counts,
    /// It is to be looked at again: the API server did not take it, or only numbers differ.
    Later(Instant),
}

impl Written {
    fn after_failure() -> Self {
        Self::Later(Instant::now() + RETRY_INTERVAL)
    }
}

impl Writer {
    /// Writes while this process leads, until it is dropped.
    pub(crate) async fn run(self) {
        loop {
            self.leadership.held().await;
            tokio::select! {
                () = self.work() => {}
                () = self.leadership.lost() => {}
            }
        }
    }

    async fn work(&self) {
        let wanted = self.board.subscribe();
        let observed = self.mirror.objects.subscribe();
        let mut agenda = Agenda::default();
        // Whose numbers were written lately, and from when on they may be again.
        let mut counts: BTreeMap<ObjectKey, Instant> = BTreeMap::new();
        let mut writes: JoinSet<(ObjectKey, Written)> = JoinSet::new();
        loop {
            while writes.len() < WRITES_MAX
                && let Some(key) = agenda.take(Instant::now(), is_gateway)
            {
                let writer = self.clone();
                let counts_from = counts.get(&key).copied();
                writes.spawn(async move {
                    let written = writer.write(&key, counts_from).await;
                    (key, written)
                });
            }
            let next = agenda.next_at().filter(|_| writes.len() < WRITES_MAX);
            tokio::select! {
                keys = wanted.next() => {
                    keys.into_iter().for_each(|key| agenda.add(key, Instant::now()));
                }
                keys = observed.next() => {
                    let keys = keys.into_iter().filter_map(|key| self.concerned(key));
                    keys.for_each(|key| agenda.add(key, Instant::now()));
                }
                Some(Ok((key, written))) = writes.join_next() => {
                    let now = Instant::now();
                    agenda.done(&key, now + INTERVAL);
                    match written {
                        Written::Done => {}
                        Written::Counts => {
                            counts.retain(|_, from| *from > now);
                            counts.insert(key, now + COUNTS_INTERVAL);
                        }
                        Written::Later(at) => agenda.add(key, at),
                    }
                }
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// The object whose status a change concerns: itself, or the Gateway whose Service it is.
    fn concerned(&self, key: ObjectKey) -> Option<ObjectKey> {
        if key.is("", "Service") {
            let service = self.mirror.objects.get(&key)?;
            return names::gateway_of(&key, &service.whole);
        }
        self.board.get(&key).map(|_| key)
    }

    /// Numbers of routes alone are no reason to write before `counts_from`.
    async fn write(&self, key: &ObjectKey, counts_from: Option<Instant>) -> Written {
        let Some(wanted) = self.board.get(key) else {
            return Written::Done;
        };
        let Some(observed) = self.mirror.objects.get(key) else {
            if *wanted == Wanted::Nothing {
                self.board.set(key, None);
            }
            return Written::Done;
        };
        let mut current = observed.whole.clone();
        for _ in 0..TRIES_MAX {
            let Some(patch) = self.patch(key, &wanted, &observed, &current) else {
                return Written::Done;
            };
            let is_of_counts = merge::is_of_counts(&current["status"], &patch);
            if let Some(from) = counts_from.filter(|from| is_of_counts && *from > Instant::now()) {
                return Written::Later(from);
            }
            match self.send(key, &current, &patch).await {
                Ok(()) => {
                    self.metrics.status_writes.inc();
                    self.tell(key, &observed, &current, &patch);
                    return if is_of_counts {
                        Written::Counts
                    } else {
                        Written::Done
                    };
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    self.metrics.status_conflicts.inc();
                    match self.read(key).await {
                        Some(read) => current = read,
                        None => return Written::after_failure(),
                    }
                }
                Err(kube::Error::Api(status)) if status.code == 404 => return Written::Done,
                Err(error) => {
                    self.metrics.status_failures.inc();
                    let cause = chain(&error);
                    warn!(object = %key, cause, "A status could not be written; trying again.");
                    return Written::after_failure();
                }
            }
        }
        Written::after_failure()
    }

    /// What is to be changed about the status of an object.
    fn patch(
        &self,
        key: &ObjectKey,
        wanted: &Wanted,
        observed: &Observed,
        current: &Value,
    ) -> Option<Value> {
        let controller = &self.controller;
        let Wanted::Status {
            uid,
            generation,
            status,
            ..
        } = wanted
        else {
            return merge::withdraw(&current["status"], controller);
        };
        // What is about an older generation is not written: the word on this one is on its way.
        let found = current["metadata"]["generation"]
            .as_i64()
            .unwrap_or_default();
        if *uid != observed.uid || *generation < found {
            return None;
        }
        let mut status = status.clone();
        if key.is(GATEWAY_GROUP, "Gateway") {
            let service = self.service_of(key, observed);
            let service = service.as_ref().map(|service| &service.whole);
            let asked = &current["spec"]["addresses"];
            addresses::complete(&mut status, wanted.is_served(), asked, service);
        } else if key.is(GATEWAY_GROUP, "GatewayClass") {
            self.bundle.correct(&mut status);
            features::add(&mut status);
        }
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        merge::merge(&current["status"], &status, controller, &now.to_string())
    }

    fn service_of(&self, key: &ObjectKey, observed: &Observed) -> Option<Arc<Observed>> {
        let class = observed.whole["spec"]["gatewayClassName"].as_str()?;
        let name = names::of_pool(&key.name, class);
        let service = ObjectKey::new("", "Service", &key.namespace, &name);
        let service = self.mirror.objects.get(&service)?;
        (names::gateway_of(key, &service.whole).as_ref() == Some(key)).then_some(service)
    }

    async fn send(
        &self,
        key: &ObjectKey,
        current: &Value,
        status: &Value,
    ) -> Result<(), kube::Error> {
        let Some(api) = self.resources.api(&self.client, key) else {
            return Ok(());
        };
        let version = &current["metadata"]["resourceVersion"];
        let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
        let params = PatchParams::default();
        api.patch_status(&key.name, &params, &Patch::Merge(&patch))
            .await
            .map(drop)
    }

    async fn read(&self, key: &ObjectKey) -> Option<Value> {
        let api = self.resources.api(&self.client, key)?;
        let read: DynamicObject = api.get(&key.name).await.ok()?;
        let kind = GroupVersionKind::gvk(&key.group, "", &key.kind);
        Observed::new(&ApiResource::from_gvk(&kind), read).map(|(_, read)| read.whole)
    }

    fn tell(&self, key: &ObjectKey, observed: &Observed, current: &Value, patch: &Value) {
        debug!(object = %key, "Status written.");
        for transition in transition::between(&current["status"], patch) {
            let (reason, note) = (&transition.reason, &transition.note);
            match transition.is_good {
                true => self.events.normal(key, observed, reason, note),
                false => self.events.warning(key, observed, reason, note),
            }
        }
    }
}

/// People wait for Gateways.
fn is_gateway(key: &ObjectKey) -> bool {
    key.is(GATEWAY_GROUP, "Gateway")
}

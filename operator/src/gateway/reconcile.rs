//! Keeps the pools of all Gateways as they should be: when something changes, and again now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::applied::Applied;
use super::apply::{Applier, ApplyError};
use super::children::Children;
use super::dereference::{Found, Parts, Surroundings, dereference, parent_of, shared};
use super::identity::Issuer;
use super::{class, names};
use crate::agenda::Agenda;
use crate::cluster::{Mirror, Resources};
use crate::covers::covers;
use crate::error::chain;
use crate::events::Events;
use crate::key::ObjectKey;
use crate::kinds::{GATEWAY_GROUP, OWN_GROUP};
use crate::lease::Leadership;
use crate::metrics::OperatorMetrics;
use crate::statuses::Board;

/// Pools that are worked on at a time.
const POOLS_MAX: usize = 4;
/// Pause after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// All pools are applied again so often, in case somebody has changed what is in them; certificates are renewed then.
const ROUND_INTERVAL: Duration = Duration::from_secs(300);

/// What all pools have in common.
pub(crate) struct PoolSettings {
    /// Classes with this `controllerName` are ours.
    pub(crate) controller: Arc<str>,
    /// The image of workers.
    pub(crate) image: String,
    /// Where workers find configd.
    pub(crate) configd: String,
    /// Signs for workers; `None` where configd is reached without certificates.
    pub(crate) issuer: Option<Issuer>,
}

/// What reconciles; clones share everything.
#[derive(Clone)]
pub(crate) struct Reconciler {
    pub(crate) client: Client,
    pub(crate) mirror: Mirror,
    pub(crate) resources: Resources,
    pub(crate) board: Board,
    pub(crate) children: Children,
    pub(crate) settings: Arc<PoolSettings>,
    pub(crate) events: Events,
    pub(crate) leadership: Leadership,
    pub(crate) metrics: OperatorMetrics,
}

/// How it went.
enum Outcome {
    /// The pool is as it should be, or there is none.
    Done(Option<Applied>),
    /// It is to be tried again; what runs goes on.
    Failed(String),
}

/// What is known of all pools.
#[derive(Default)]
struct Pools {
    agenda: Agenda,
    applied: BTreeMap<ObjectKey, Applied>,
    /// What has changed of objects that were being applied, or are of nobody whom this process knows: never more than
    /// the cluster has objects of pools.
    unmatched: BTreeSet<ObjectKey>,
    /// The failures that were told.
    failures: BTreeMap<ObjectKey, String>,
}

impl Reconciler {
    /// Reconciles while this process leads, until it is dropped.
    pub(crate) async fn run(self) {
        loop {
            self.leadership.held().await;
            self.mirror.whole().await;
            tokio::select! {
                () = self.work() => {}
                () = self.leadership.lost() => {}
            }
        }
    }

    async fn work(&self) {
        let observed = self.mirror.objects.subscribe();
        let statuses = self.board.subscribe();
        let children = self.children.subscribe();
        let mut pools = Pools::default();
        let mut running: JoinSet<(ObjectKey, Outcome)> = JoinSet::new();
        let mut round = tokio::time::interval(ROUND_INTERVAL);
        loop {
            while running.len() < POOLS_MAX
                && let Some(key) = pools.agenda.take(Instant::now(), |_| false)
            {
                let before = pools.applied.get(&key).cloned();
                let reconciler = self.clone();
                running.spawn(async move {
                    let outcome = reconciler.reconcile(&key, before).await;
                    (key, outcome)
                });
            }
            let next = pools.agenda.next_at().filter(|_| running.len() < POOLS_MAX);
            tokio::select! {
                keys = observed.next() => {
                    self.look_at_classes(&keys).await;
                    let keys = keys.into_iter().flat_map(|key| self.concerned(&key));
                    self.plan(&mut pools, keys);
                }
                keys = statuses.next() => {
                    let keys = keys.into_iter().filter(has_listeners);
                    let keys = keys.flat_map(|key| self.concerned(&key));
                    self.plan(&mut pools, keys);
                }
                keys = children.next() => {
                    keys.iter().for_each(|key| self.compare(&mut pools, key));
                }
                Some(Ok((key, outcome))) = running.join_next() => {
                    self.note(&mut pools, key, outcome);
                }
                _ = round.tick() => {
                    pools.applied.values_mut().for_each(|applied| applied.objects.clear());
                    self.plan(&mut pools, self.gateways());
                }
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// Has objects applied again, where one of them is not as it was applied.
    fn compare(&self, pools: &mut Pools, child: &ObjectKey) {
        let found = self.children.get(child).map(|found| found.generation);
        let mut can_tell = false;
        for (key, applied) in &mut pools.applied {
            let is_own = key.namespace == child.namespace && applied.name == *child.name;
            if !is_own || pools.agenda.is_busy(key) {
                continue;
            }
            can_tell = true;
            let known = applied.generations.get(&*child.kind);
            if known.is_some_and(|known| found != Some(*known)) {
                applied.objects.clear();
                pools.agenda.add(key.clone(), Instant::now());
            }
        }
        if !can_tell {
            pools.unmatched.insert(child.clone());
        }
    }

    /// Looks again at what has changed while it was being applied.
    fn compare_again(&self, pools: &mut Pools, key: &ObjectKey, name: &str) {
        let unmatched = std::mem::take(&mut pools.unmatched);
        let is_own = |child: &ObjectKey| child.namespace == key.namespace && *child.name == *name;
        let (own, others): (BTreeSet<ObjectKey>, _) = unmatched.into_iter().partition(is_own);
        pools.unmatched = others;
        own.iter().for_each(|child| self.compare(pools, child));
    }

    /// Puts Gateways on the agenda, and what they share with others or have shared.
    fn plan(&self, pools: &mut Pools, gateways: impl IntoIterator<Item = ObjectKey>) {
        let mut due = BTreeSet::new();
        for gateway in gateways {
            if let Some(observed) = self.mirror.objects.get(&gateway) {
                let class = observed.whole["spec"]["gatewayClassName"].as_str();
                due.insert(shared::key(&gateway.namespace, class.unwrap_or_default()));
            }
            let left = pools.applied.keys().filter(|key| shared::is_key(key));
            due.extend(
                left.filter(|key| key.namespace == gateway.namespace)
                    .cloned(),
            );
            due.insert(gateway);
        }
        due.into_iter()
            .for_each(|key| pools.agenda.add(key, Instant::now()));
    }

    fn gateways(&self) -> Vec<ObjectKey> {
        let gateways = self.mirror.objects.of_kind(GATEWAY_GROUP, "Gateway");
        gateways.into_iter().map(|(key, _)| key).collect()
    }

    /// The Gateways whose pools a change may concern.
    fn concerned(&self, key: &ObjectKey) -> Vec<ObjectKey> {
        let object = self.mirror.objects.get(key);
        let whole = object.as_ref().map_or(&Value::Null, |object| &object.whole);
        match (&*key.group, &*key.kind) {
            (GATEWAY_GROUP, "Gateway") => vec![key.clone()],
            (GATEWAY_GROUP, "GatewayClass") | (OWN_GROUP, "GatewayParameters") => self.gateways(),
            (GATEWAY_GROUP, "ListenerSet") => match object {
                Some(_) => parent_of(key, whole).into_iter().collect(),
                None => self.gateways(),
            },
            ("", "Service" | "Secret") => match object {
                Some(_) => names::gateway_of(key, whole).into_iter().collect(),
                // Whose it was, only its name says.
                None => {
                    let own = self.gateways().into_iter();
                    own.filter(|gateway| gateway.namespace == key.namespace)
                        .collect()
                }
            },
            _ => vec![],
        }
    }

    async fn look_at_classes(&self, changed: &BTreeSet<ObjectKey>) {
        let is_relevant = |key: &ObjectKey| {
            key.is(GATEWAY_GROUP, "Gateway") || key.is(GATEWAY_GROUP, "GatewayClass")
        };
        if !changed.iter().any(is_relevant) {
            return;
        }
        for (key, class) in self.mirror.objects.of_kind(GATEWAY_GROUP, "GatewayClass") {
            if class.whole["spec"]["controllerName"] != *self.settings.controller {
                continue;
            }
            let is_used = class::is_used(&self.mirror, &key);
            let Some(names) = class::finalizers(&class.whole, is_used) else {
                continue;
            };
            // A class that goes takes no finalizers on.
            if class.is_deleting && is_used {
                continue;
            }
            let class = (&key, &*class);
            let set = class::set_finalizers(&self.client, &self.resources, class, &names);
            if let Err(error) = set.await {
                let cause = chain(&error);
                warn!(object = %key, cause, "The finalizer of a GatewayClass could not be set.");
            }
        }
    }

    async fn reconcile(&self, key: &ObjectKey, before: Option<Applied>) -> Outcome {
        let found = match shared::is_key(key) {
            true => shared::dereference(self.surroundings(), key),
            false => dereference(self.surroundings(), key),
        };
        let parts = match found {
            Found::Parts(parts) => parts,
            Found::Broken(cause) => return Outcome::Failed(cause),
            Found::NotYet => return Outcome::Done(before),
            Found::NotOurs => return self.leave(key, before).await,
        };
        match self.apply(key, &parts, before).await {
            Ok(applied) => Outcome::Done(Some(applied)),
            Err(error) => Outcome::Failed(explain(&error)),
        }
    }

    async fn apply(
        &self,
        key: &ObjectKey,
        parts: &Parts,
        before: Option<Applied>,
    ) -> Result<Applied, ApplyError> {
        let mut wanted = Applied::of(parts);
        match before {
            Some(before) if before.is_same(&wanted) && self.is_there(key, &wanted) => {
                return Ok(before);
            }
            Some(before) if before.name != wanted.name => {
                self.applier(key, &before).remove_all().await?;
            }
            _ => {}
        }
        let applier = self.applier(key, &wanted);
        wanted.generations = applier.apply_all(&wanted.objects).await?;
        self.metrics.applied.inc_by(wanted.objects.len() as u64);
        info!(gateway = %key, name = wanted.name, "The pool is applied.");
        Ok(wanted)
    }

    /// Whether what the cluster tells of the pool's objects is as it was applied.
    fn is_there(&self, key: &ObjectKey, applied: &Applied) -> bool {
        let told = |object: &&Value| object["kind"] == "Service" || object["kind"] == "Secret";
        applied.objects.iter().filter(told).all(|object| {
            let kind = object["kind"].as_str().unwrap_or_default();
            let child = ObjectKey::new("", kind, &key.namespace, &applied.name);
            let found = self.mirror.objects.get(&child);
            found.is_some_and(|found| covers(&found.whole, object))
        })
    }

    /// A Gateway that is gone takes its objects along, and the last of those that share workers these; one that has gone
    /// to another controller, or to workers of its own, does not.
    async fn leave(&self, key: &ObjectKey, before: Option<Applied>) -> Outcome {
        let (stays, before) = match shared::is_key(key) {
            true => (
                true,
                before.or_else(|| Applied::left_behind(&self.mirror, key)),
            ),
            false => {
                let gateway = self.mirror.objects.get(key);
                (gateway.is_some_and(|one| !one.is_deleting), before)
            }
        };
        let (Some(before), true) = (before, stays) else {
            return Outcome::Done(None);
        };
        match self.applier(key, &before).remove_all().await {
            Ok(()) => Outcome::Done(None),
            Err(error) => Outcome::Failed(explain(&error)),
        }
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            mirror: &self.mirror,
            board: &self.board,
            settings: &self.settings,
        }
    }

    fn applier<'a>(&'a self, key: &'a ObjectKey, applied: &'a Applied) -> Applier<'a> {
        Applier {
            client: &self.client,
            namespace: &key.namespace,
            name: &applied.name,
            uids: &applied.uids,
        }
    }

    fn note(&self, pools: &mut Pools, key: ObjectKey, outcome: Outcome) {
        pools.agenda.done(&key, Instant::now());
        match outcome {
            Outcome::Done(applied) => {
                if pools.failures.remove(&key).is_some() {
                    self.tell(&key, None);
                }
                match applied {
                    Some(applied) => {
                        let name = applied.name.clone();
                        pools.applied.insert(key.clone(), applied);
                        self.compare_again(pools, &key, &name);
                    }
                    None => drop(pools.applied.remove(&key)),
                }
            }
            Outcome::Failed(cause) => {
                self.metrics.apply_failures.inc();
                if pools.failures.get(&key) != Some(&cause) {
                    self.tell(&key, Some(&cause));
                }
                pools.failures.insert(key.clone(), cause);
                pools.agenda.add(key, Instant::now() + RETRY_INTERVAL);
            }
        }
    }

    /// Tells a Gateway how its objects are, or those that may share workers.
    fn tell(&self, key: &ObjectKey, failure: Option<&str>) {
        let gateways = match shared::is_key(key) {
            true => self.surroundings().gateways_of(key),
            false => vec![key.clone()],
        };
        let events = &self.events;
        for gateway in gateways {
            let Some(observed) = self.mirror.objects.get(&gateway) else {
                continue;
            };
            match failure {
                Some(cause) => {
                    warn!(%gateway, cause, "A pool cannot be applied; what runs goes on.");
                    events.warning(&gateway, &observed, "PoolNotApplied", cause);
                }
                None => {
                    let note = "The workers are as they should be";
                    events.normal(&gateway, &observed, "PoolApplied", note);
                }
            }
        }
    }
}

/// Whether configd's word on an object decides what runs for a Gateway.
fn has_listeners(key: &ObjectKey) -> bool {
    key.is(GATEWAY_GROUP, "Gateway") || key.is(GATEWAY_GROUP, "ListenerSet")
}

/// The cause, and the way out where it is known.
fn explain(error: &ApplyError) -> String {
    let text = chain(error);
    let is_forbidden = matches!(
        error,
        ApplyError::Call { source, .. }
            if matches!(&**source, kube::Error::Api(status) if status.code == 403)
    );
    match is_forbidden {
        true => format!("{text}; give the operator's ClusterRole that right"),
        false => text,
    }
}

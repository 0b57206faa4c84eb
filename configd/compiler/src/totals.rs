//! Counts over all routes and listeners: what is attached where, and which backends are in use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::backend_object::{BackendObject, BackendPort};
use crate::objects::Place;
use crate::route::RouteOutcome;

/// Counts over all routes, kept up to date route by route.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    attached: BTreeMap<Place, BTreeMap<Arc<str>, usize>>,
    backends: BTreeMap<Arc<str>, BTreeMap<BackendPort, usize>>,
    uses: BTreeMap<BackendPort, usize>,
    /// Ports that came into use or went out of it since they were last taken.
    touched: BTreeSet<BackendPort>,
    /// The same, pool by pool.
    touched_in: BTreeSet<(Arc<str>, BackendPort)>,
    /// The Gateways from which routes lead to an object.
    gateways: BTreeMap<BackendObject, BTreeMap<Place, usize>>,
    /// Objects whose Gateways have changed since they were last taken.
    touched_objects: BTreeSet<BackendObject>,
    /// Those that listeners need, with their pool.
    by_listeners: BTreeSet<(Arc<str>, BackendPort)>,
}

impl Totals {
    pub(crate) fn add(&mut self, outcome: &RouteOutcome) {
        for (gateway, section_name) in &outcome.attached {
            let listeners = self.attached.entry(gateway.clone()).or_default();
            *listeners.entry(section_name.clone()).or_default() += 1;
        }
        for pool in outcome.pools() {
            for backend in &outcome.backends {
                self.use_backend(pool, backend);
            }
        }
        for gateway in outcome.gateways() {
            for object in outcome.backend_objects() {
                let gateways = self.gateways.entry(object.clone()).or_default();
                let count = gateways.entry(gateway.clone()).or_default();
                *count += 1;
                if *count == 1 {
                    self.touched_objects.insert(object.clone());
                }
            }
        }
    }

    /// What listeners need now, instead of what they needed before.
    pub(crate) fn set_by_listeners(&mut self, needed: BTreeSet<(Arc<str>, BackendPort)>) {
        for (pool, backend) in needed.difference(&self.by_listeners.clone()) {
            self.use_backend(pool, backend);
        }
        let before = std::mem::replace(&mut self.by_listeners, needed);
        for (pool, backend) in before.difference(&self.by_listeners.clone()) {
            self.leave_backend(pool, backend);
        }
    }

    fn use_backend(&mut self, pool: &Arc<str>, backend: &BackendPort) {
        let backends = self.backends.entry(pool.clone()).or_default();
        let in_pool = backends.entry(backend.clone()).or_default();
        *in_pool += 1;
        if *in_pool == 1 {
            self.touched_in.insert((pool.clone(), backend.clone()));
        }
        let uses = self.uses.entry(backend.clone()).or_default();
        *uses += 1;
        if *uses == 1 {
            self.touched.insert(backend.clone());
        }
    }

    fn leave_backend(&mut self, pool: &Arc<str>, backend: &BackendPort) {
        take_one_inside(&mut self.backends, pool, backend);
        if !self.uses_in(pool, backend) {
            self.touched_in.insert((pool.clone(), backend.clone()));
        }
        take_one(&mut self.uses, backend);
        if !self.uses(backend) {
            self.touched.insert(backend.clone());
        }
    }

    pub(crate) fn subtract(&mut self, outcome: &RouteOutcome) {
        for (gateway, section_name) in &outcome.attached {
            take_one_inside(&mut self.attached, gateway, section_name);
        }
        for pool in outcome.pools() {
            for backend in &outcome.backends {
                self.leave_backend(pool, backend);
            }
        }
        for gateway in outcome.gateways() {
            for object in outcome.backend_objects() {
                take_one_inside(&mut self.gateways, object, gateway);
                let left = self.gateways.get(object);
                if !left.is_some_and(|gateways| gateways.contains_key(gateway)) {
                    self.touched_objects.insert(object.clone());
                }
            }
        }
    }

    /// How many routes each listener of a Gateway has; one without any may be missing.
    pub(crate) fn attached(&self, gateway: &Place) -> &BTreeMap<Arc<str>, usize> {
        const NONE: &BTreeMap<Arc<str>, usize> = &BTreeMap::new();
        self.attached.get(gateway).unwrap_or(NONE)
    }

    pub(crate) fn uses(&self, backend: &BackendPort) -> bool {
        self.uses.contains_key(backend)
    }

    pub(crate) fn uses_in(&self, pool: &Arc<str>, backend: &BackendPort) -> bool {
        let backends = self.backends.get(pool);
        backends.is_some_and(|backends| backends.contains_key(backend))
    }

    /// The pools that use a port.
    pub(crate) fn pools_of<'t>(
        &'t self,
        backend: &'t BackendPort,
    ) -> impl Iterator<Item = &'t Arc<str>> {
        let pools = self.backends.iter();
        let pools = pools.filter(|(_, backends)| backends.contains_key(backend));
        pools.map(|(pool, _)| pool)
    }

    /// The Gateways from which accepted routes lead to an object, ordered by name.
    pub(crate) fn gateways_of(&self, object: &BackendObject) -> impl Iterator<Item = &Place> {
        self.gateways
            .get(object)
            .into_iter()
            .flat_map(BTreeMap::keys)
    }

    /// The objects whose Gateways have changed since the last call.
    pub(crate) fn take_touched_objects(&mut self) -> BTreeSet<BackendObject> {
        std::mem::take(&mut self.touched_objects)
    }

    /// The same for ports in a pool.
    pub(crate) fn take_touched_in(&mut self) -> BTreeSet<(Arc<str>, BackendPort)> {
        std::mem::take(&mut self.touched_in)
    }

    /// The ports that came into use or went out of it since the last call.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<BackendPort> {
        std::mem::take(&mut self.touched)
    }
}

/// Counts down, and leaves no empty map behind.
fn take_one_inside<O: Ord, K: Ord>(
    groups: &mut BTreeMap<O, BTreeMap<K, usize>>,
    group: &O,
    key: &K,
) {
    let counts = groups
        .get_mut(group)
        .expect("what is subtracted was added before");
    take_one(counts, key);
    if counts.is_empty() {
        groups.remove(group);
    }
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    let count = counts
        .get_mut(key)
        .expect("what is subtracted was added before");
    *count -= 1;
    if *count == 0 {
        counts.remove(key);
    }
}

//! Joins what was made of Gateways, routes and Services into the snapshots of the pools.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_ir::{EncodedPart, Part, PartKey};

use crate::backend_object::{BackendObject, BackendPort};
use crate::backends::Backends;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::gateway::GatewayPlan;
use crate::objects::Place;
use crate::route::RouteOutcome;
use crate::tls::CertificateUse;

type Parts = BTreeMap<PartKey, EncodedPart>;

/// Counts over all routes, kept up to date route by route.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    attached: BTreeMap<Place, BTreeMap<Arc<str>, usize>>,
    backends: BTreeMap<Arc<str>, BTreeMap<BackendPort, usize>>,
    uses: BTreeMap<BackendPort, usize>,
    /// Ports that came into use or went out of it since they were last taken.
    touched: BTreeSet<BackendPort>,
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
        for pool in outcome.parts.keys() {
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
        *backends.entry(backend.clone()).or_default() += 1;
        let uses = self.uses.entry(backend.clone()).or_default();
        *uses += 1;
        if *uses == 1 {
            self.touched.insert(backend.clone());
        }
    }

    fn leave_backend(&mut self, pool: &Arc<str>, backend: &BackendPort) {
        take_one_inside(&mut self.backends, pool, backend);
        take_one(&mut self.uses, backend);
        if !self.uses(backend) {
            self.touched.insert(backend.clone());
        }
    }

    pub(crate) fn subtract(&mut self, outcome: &RouteOutcome) {
        for (gateway, section_name) in &outcome.attached {
            take_one_inside(&mut self.attached, gateway, section_name);
        }
        for pool in outcome.parts.keys() {
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

/// Collects the parts of all pools.
#[derive(Default)]
pub(crate) struct Assembly {
    pools: BTreeMap<Arc<str>, Vec<EncodedPart>>,
    /// Parts of Gateways in the last compilation, to be taken again if they are unchanged.
    known: Parts,
    used: Parts,
}

impl Assembly {
    pub(crate) fn new(known: Parts) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    pub(crate) fn add_gateway(&mut self, pool: &Arc<str>, plan: &GatewayPlan) {
        self.pools.entry(pool.clone()).or_default();
        let served = plan
            .listeners
            .iter()
            .filter(|listener| listener.view.served);
        for listener in served {
            let shown = plan.client_certificate.as_ref();
            let shown_name = shown.map(|used| used.part_name.clone());
            let part = listener.part(plan.object.name(), shown_name);
            self.add(pool, Part::Listener(part));
            for used in listener.certificates.iter().chain(shown) {
                self.add_certificate(pool, used);
            }
            let asked = listener.asked.as_ref();
            if let Some(trust) = asked.and_then(|asked| asked.trust.as_ref()) {
                self.add(pool, Part::TrustBundle(trust.clone()));
            }
        }
    }

    fn add_certificate(&mut self, pool: &Arc<str>, used: &CertificateUse) {
        let Ok(pair) = used.secret.spec.key_pair() else {
            return;
        };
        let (certificate, key) = pair.parts(&used.part_name);
        self.add(pool, Part::Certificate(certificate));
        self.add(pool, Part::PrivateKey(key));
    }

    /// Adds routes; of two with one name, from different sources, the older one.
    pub(crate) fn add_routes<'a>(
        &mut self,
        outcomes: impl Iterator<Item = &'a RouteOutcome>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let mut pools: BTreeMap<&Arc<str>, Vec<(&EncodedPart, &RouteOutcome)>> = BTreeMap::new();
        for outcome in outcomes {
            for (pool, part) in &outcome.parts {
                pools.entry(pool).or_default().push((part, outcome));
            }
        }
        for (pool, mut routes) in pools {
            routes.sort_by(|(part, outcome), (other_part, other)| {
                let order = |outcome: &RouteOutcome| outcome.created_at_unix_s;
                let names = part.key().cmp(other_part.key());
                names
                    .then_with(|| order(outcome).cmp(&order(other)))
                    .then_with(|| outcome.key.cmp(&other.key))
            });
            let parts = self.pools.entry(pool.clone()).or_default();
            let mut last: Option<&PartKey> = None;
            for (part, outcome) in routes {
                if last == Some(part.key()) {
                    let message = "another source has an older route of this namespace and name in the same pool; rename one of them";
                    let code = &codes::ROUTE_CLASH;
                    diagnostics.push(Diagnostic::new(
                        &outcome.key,
                        "metadata.name",
                        code,
                        message,
                    ));
                    continue;
                }
                last = Some(part.key());
                parts.push(part.clone());
            }
        }
    }

    pub(crate) fn add_backends(
        &mut self,
        backends: &Backends,
        totals: &Totals,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        for (pool, ports) in &totals.backends {
            let known = ports.keys().filter_map(|port| backends.get(port));
            let known: Vec<_> = known.collect();
            // Kind by kind, as the snapshot orders them: a sorted input makes a map at once.
            let parts = self.pools.entry(pool.clone()).or_default();
            parts.extend(known.iter().map(|parts| parts.backend.clone()));
            parts.extend(known.iter().filter_map(|parts| parts.endpoints.clone()));
            parts.extend(known.iter().flat_map(|parts| parts.others.clone()));
        }
        diagnostics.extend(backends.findings().into_iter().cloned());
    }

    /// Adds a part, in the encoding that is known if it is unchanged.
    fn add(&mut self, pool: &Arc<str>, part: Part) {
        let key = part.key();
        let known = self.used.get(&key).or_else(|| self.known.get(&key));
        let encoded = match known {
            Some(known) if **known.part() == part => known.clone(),
            _ => EncodedPart::encode(part),
        };
        self.used.insert(key, encoded.clone());
        self.pools.entry(pool.clone()).or_default().push(encoded);
    }

    /// The snapshots of the pools, and the parts of Gateways.
    pub(crate) fn finish(self) -> (BTreeMap<String, Parts>, Parts) {
        let pools = self.pools.into_iter().map(|(pool, parts)| {
            let parts = parts.into_iter().map(|part| (part.key().clone(), part));
            (pool.to_string(), parts.collect())
        });
        (pools.collect(), self.used)
    }
}

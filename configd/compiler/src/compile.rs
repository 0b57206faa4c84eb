//! From all objects to snapshots, statuses and findings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_ir::{EncodedPart, Part, PartKey};

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::gateway::{self, GatewayPlan, GatewayView};
use crate::objects::{Object, ObjectKey, Objects, Place};
use crate::read::{InvalidField, read};
use crate::route::{self, Dependency, RouteOutcome};
use crate::service::BackendPort;
use crate::status::ObjectStatus;

/// What the compiler has to know besides the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The `controllerName` of the GatewayClasses that are ours, such as `tidegate.dev/gateway`.
    pub controller_name: String,
    /// Which workers serve which Gateways.
    pub pooling: Pooling,
}

/// Which workers serve which Gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pooling {
    /// One pool serves all.
    Single {
        /// Its name.
        pool: String,
    },
    /// Each Gateway has a pool, named by its namespace and name, joined by `/`.
    PerGateway,
}

/// All that comes out of one compilation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compilation {
    /// The snapshot of each pool, closed under references.
    pub pools: BTreeMap<String, BTreeMap<PartKey, EncodedPart>>,
    /// Statuses of our objects, ordered by key.
    pub statuses: Vec<ObjectStatus>,
    /// Findings, ordered by key and field.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles a set of objects at once; those that break their schema become findings.
pub fn compile(objects: impl IntoIterator<Item = Object>, settings: &Settings) -> Compilation {
    let mut compiler = Compiler::new(settings.clone());
    let mut refused: BTreeMap<ObjectKey, Vec<InvalidField>> = BTreeMap::new();
    for object in objects {
        let key = object.key.clone();
        if let Err(invalid) = compiler.put(object) {
            refused.insert(key, invalid);
        }
    }
    let mut compilation = compiler.compile();
    for (key, invalid) in refused {
        let code = &codes::UNREADABLE;
        let invalid = invalid.into_iter();
        let findings = invalid.map(|field| Diagnostic::new(&key, field.path, code, field.message));
        compilation.diagnostics.extend(findings);
    }
    compilation.diagnostics.sort();
    compilation
}

/// Compiles again and again while objects change, and recomputes only what depends on a change.
#[derive(Debug)]
pub struct Compiler {
    settings: Settings,
    objects: Objects,
    /// Outcomes of the last compilation.
    routes: BTreeMap<Place, RouteOutcome>,
    views: BTreeMap<Place, GatewayView>,
    parts: BTreeMap<PartKey, EncodedPart>,
    /// What has changed since.
    changed_routes: BTreeSet<Place>,
    changed: BTreeSet<Dependency>,
}

impl Compiler {
    /// A compiler that knows no object yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            objects: Objects::default(),
            routes: BTreeMap::new(),
            views: BTreeMap::new(),
            parts: BTreeMap::new(),
            changed_routes: BTreeSet::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Adds or replaces an object; one of a kind that the compiler does not read changes nothing.
    ///
    /// # Errors
    /// An object that breaks its schema is refused, and what was known of it before stays.
    pub fn put(&mut self, object: Object) -> Result<(), Vec<InvalidField>> {
        let key = &object.key;
        if let Some(known) = read(&key.group, &key.kind, &object.content)? {
            self.mark(key);
            self.objects.insert(&object, known);
        }
        Ok(())
    }

    /// Forgets an object; one that is not there is fine.
    pub fn remove(&mut self, key: &ObjectKey) {
        self.mark(key);
        self.objects.remove(key);
    }

    /// Notes what may depend on an object.
    fn mark(&mut self, key: &ObjectKey) {
        let place = key.place();
        match &*key.kind {
            "HTTPRoute" => drop(self.changed_routes.insert(place)),
            "Gateway" => drop(self.changed.insert(Dependency::Gateway(place))),
            "Service" => drop(self.changed.insert(Dependency::Service(place))),
            "Namespace" => drop(self.changed.insert(Dependency::Namespace(place))),
            "ReferenceGrant" => {
                let grants = Place::new(&place.source, &place.object.namespace, "");
                self.changed.insert(Dependency::Grants(grants));
            }
            _ => {}
        }
    }

    /// Compiles all objects: total, and equal for equal objects, in whatever order they came.
    pub fn compile(&mut self) -> Compilation {
        let mut compilation = Compilation::default();
        let controller_name = self.settings.controller_name.clone();
        for class in self.objects.classes.values() {
            let diagnostics = &mut compilation.diagnostics;
            let status = gateway::class_status(class, &controller_name, diagnostics);
            compilation.statuses.extend(status);
        }
        let gateways = self.plan_gateways();
        self.report_foreign_gateways(&gateways, &mut compilation);
        self.compile_routes(&gateways);
        self.assemble(&gateways, &mut compilation);
        compilation.statuses.sort_by(|a, b| a.key.cmp(&b.key));
        compilation.diagnostics.sort();
        compilation
    }

    /// The plans of our Gateways, older ones first where they compete for a name or a port.
    fn plan_gateways(&mut self) -> BTreeMap<Place, GatewayPlan> {
        let objects = &self.objects;
        let controller_name = &self.settings.controller_name;
        let plans = objects.gateways.iter().filter_map(|(place, gateway)| {
            let plan = gateway::plan(objects, gateway, controller_name)?;
            Some((place.clone(), plan))
        });
        let mut plans: BTreeMap<Place, GatewayPlan> = plans.collect();
        settle_competition(&mut plans, &self.settings.pooling);
        plans
    }

    fn report_foreign_gateways(
        &self,
        gateways: &BTreeMap<Place, GatewayPlan>,
        compilation: &mut Compilation,
    ) {
        let foreign = self
            .objects
            .gateways
            .iter()
            .filter(|(place, _)| !gateways.contains_key(place));
        for (place, gateway) in foreign {
            let name = &gateway.spec.gateway_class_name;
            let class = Place::cluster_wide(&place.source, name);
            if !self.objects.classes.contains_key(&class) {
                let message =
                    format!("GatewayClass {name} does not exist; create it or correct the name");
                let code = &codes::CLASS_NOT_FOUND;
                let field = "spec.gatewayClassName";
                compilation
                    .diagnostics
                    .push(Diagnostic::new(&gateway.key, field, code, message));
            }
        }
    }

    /// Recompiles the routes that depend on what has changed.
    fn compile_routes(&mut self, gateways: &BTreeMap<Place, GatewayPlan>) {
        let views = gateways
            .iter()
            .map(|(place, plan)| (place.clone(), plan.view()));
        let views: BTreeMap<Place, GatewayView> = views.collect();
        let mut changed = std::mem::take(&mut self.changed);
        let both = views.keys().chain(self.views.keys());
        let differing = both.filter(|place| views.get(place) != self.views.get(place));
        changed.extend(differing.cloned().map(Dependency::Gateway));
        self.views = views;
        let mut routes = std::mem::take(&mut self.changed_routes);
        if !changed.is_empty() {
            let depends = |outcome: &RouteOutcome| {
                outcome
                    .dependencies
                    .iter()
                    .any(|dependency| changed.contains(dependency))
            };
            let affected = self.routes.iter().filter(|(_, outcome)| depends(outcome));
            routes.extend(affected.map(|(place, _)| place.clone()));
        }
        let pool_of = |place: &Place| self.settings.pooling.pool_of(place);
        let surroundings = route::Surroundings {
            objects: &self.objects,
            gateways: &self.views,
            controller_name: &self.settings.controller_name,
            pool_of: &pool_of,
        };
        for place in routes {
            let Some(route) = self.objects.http_routes.get(&place) else {
                self.routes.remove(&place);
                continue;
            };
            let outcome = route::compile(surroundings, route, self.routes.get(&place));
            self.routes.insert(place, outcome);
        }
    }

    /// Joins the outcomes.
    fn assemble(&mut self, gateways: &BTreeMap<Place, GatewayPlan>, compilation: &mut Compilation) {
        let mut assembly = Assembly {
            known: std::mem::take(&mut self.parts),
            ..Assembly::default()
        };
        for (place, plan) in gateways {
            assembly.add_gateway(&self.settings.pooling.pool_of(place), plan);
        }
        let mut attached: BTreeMap<&Place, BTreeMap<Arc<str>, usize>> = BTreeMap::new();
        for outcome in self.routes.values() {
            compilation.statuses.extend(outcome.status.clone());
            compilation
                .diagnostics
                .extend_from_slice(&outcome.diagnostics);
            for (gateway, section_name) in &outcome.attached {
                let listeners = attached.entry(gateway).or_default();
                *listeners.entry(section_name.clone()).or_default() += 1;
            }
        }
        let mut by_age: Vec<_> = self
            .routes
            .iter()
            .filter(|(_, outcome)| !outcome.parts.is_empty())
            .collect();
        let created = |place: &Place| self.objects.http_routes[place].created_at_unix_s;
        by_age.sort_by_cached_key(|(place, _)| created(place));
        for (place, outcome) in by_age {
            let key = &self.objects.http_routes[place].key;
            assembly.add_route(key, outcome, &mut compilation.diagnostics);
        }
        assembly.add_backends(&self.objects);
        let none = BTreeMap::new();
        for (place, plan) in gateways {
            compilation.diagnostics.extend_from_slice(&plan.diagnostics);
            compilation
                .statuses
                .push(plan.status(attached.get(place).unwrap_or(&none)));
        }
        self.parts = assembly.used;
        let pools = assembly.pools.into_iter();
        compilation.pools = pools
            .map(|(pool, parts)| (pool.to_string(), parts))
            .collect();
    }
}

impl Pooling {
    fn pool_of(&self, gateway: &Place) -> Arc<str> {
        match self {
            Self::Single { pool } => pool.as_str().into(),
            Self::PerGateway => gateway.object.to_string().into(),
        }
    }
}

/// Gives names and ports to the older of two Gateways of one pool.
fn settle_competition(plans: &mut BTreeMap<Place, GatewayPlan>, pooling: &Pooling) {
    let mut order: Vec<(i64, tidegate_ir::ObjectName, Arc<str>)> = plans
        .iter()
        .map(|(place, plan)| {
            let created = plan.object.created_at_unix_s;
            (created, place.object.clone(), place.source.clone())
        })
        .collect();
    order.sort();
    let mut names: BTreeMap<tidegate_ir::ObjectName, Arc<str>> = BTreeMap::new();
    let mut taken: BTreeSet<u16> = BTreeSet::new();
    for (_, object, source) in order {
        let place = Place { source, object };
        let plan = plans.get_mut(&place).expect("the order lists the plans");
        if let Some(other) = names.get(&place.object) {
            plan.refuse_as_clashing(other);
            continue;
        }
        names.insert(place.object.clone(), place.source.clone());
        if matches!(pooling, Pooling::Single { .. }) {
            allot_ports(plan, &mut taken);
        }
    }
}

/// A port that an older Gateway has is moved by the least multiple of 10,000 that leads to a free one.
fn allot_ports(plan: &mut GatewayPlan, taken: &mut BTreeSet<u16>) {
    let mut own: BTreeMap<u16, u16> = BTreeMap::new();
    for listener in &mut plan.listeners {
        let port = listener.view.port;
        if !listener.view.served {
            continue;
        }
        let bind_port = own
            .get(&port)
            .copied()
            .unwrap_or_else(|| free_port(port, taken));
        own.insert(port, bind_port);
        taken.insert(bind_port);
        listener.bind_port = bind_port;
    }
    for (port, bind_port) in &own {
        if port != bind_port {
            plan.note_moved_port(*port, *bind_port);
        }
    }
}

/// The port itself, or the first free one in steps of 10,000.
fn free_port(port: u16, taken: &BTreeSet<u16>) -> u16 {
    // 10,000 and 65,536 share the factor 16, so the steps return to the start after 4,096 of them.
    let candidates = (0..4_096).filter_map(|step| {
        let moved = (u32::from(port) + 10_000 * step) % 65_536;
        u16::try_from(moved).ok().filter(|port| *port > 0)
    });
    let mut free = candidates.filter(|port| !taken.contains(port));
    free.next().unwrap_or(port)
}

/// Collects the parts of all pools.
#[derive(Default)]
struct Assembly {
    pools: BTreeMap<Arc<str>, BTreeMap<PartKey, EncodedPart>>,
    backends: BTreeMap<Arc<str>, BTreeSet<BackendPort>>,
    /// Parts of the last compilation.
    known: BTreeMap<PartKey, EncodedPart>,
    /// Parts of this compilation that are not kept with a route.
    used: BTreeMap<PartKey, EncodedPart>,
}

impl Assembly {
    fn add_gateway(&mut self, pool: &Arc<str>, plan: &GatewayPlan) {
        self.pools.entry(pool.clone()).or_default();
        for listener in plan
            .listeners
            .iter()
            .filter(|listener| listener.view.served)
        {
            let part = Part::Listener(listener.part(plan.object.name()));
            self.add(pool, part);
            for used in &listener.certificates {
                let Ok(pair) = used.secret.spec.key_pair() else {
                    continue;
                };
                let (certificate, key) = pair.parts(&used.part_name);
                self.add(pool, Part::Certificate(certificate));
                self.add(pool, Part::PrivateKey(key));
            }
        }
    }

    fn add_route(
        &mut self,
        key: &ObjectKey,
        outcome: &RouteOutcome,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        for (pool, part) in &outcome.parts {
            let parts = self.pools.entry(pool.clone()).or_default();
            if parts.contains_key(part.key()) {
                let message = "another source has an older route of this namespace and name in the same pool; rename one of them";
                let code = &codes::ROUTE_CLASH;
                diagnostics.push(Diagnostic::new(key, "metadata.name", code, message));
                continue;
            }
            parts.insert(part.key().clone(), part.clone());
            let backends = self.backends.entry(pool.clone()).or_default();
            backends.extend(outcome.backends.iter().cloned());
        }
    }

    fn add_backends(&mut self, objects: &Objects) {
        for (pool, backends) in std::mem::take(&mut self.backends) {
            for backend in backends {
                let Some((backend, endpoints)) = backend.parts(objects) else {
                    continue;
                };
                self.add(&pool, Part::Backend(backend));
                self.add(&pool, Part::EndpointSet(endpoints));
            }
        }
    }

    /// Adds a part, in the encoding that is known if it is unchanged.
    fn add(&mut self, pool: &Arc<str>, part: Part) {
        let key = part.key();
        let known = self.used.get(&key).or_else(|| self.known.get(&key));
        let encoded = match known {
            Some(known) if **known.part() == part => known.clone(),
            _ => EncodedPart::encode(part),
        };
        self.used.insert(key.clone(), encoded.clone());
        self.pools
            .entry(pool.clone())
            .or_default()
            .insert(key, encoded);
    }
}

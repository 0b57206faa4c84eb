//! From all objects to snapshots, statuses and findings.

mod mark;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tidegate_ir::{EncodedPart, PartKey, RouteKind};

use crate::assembly::{Assembly, Totals};
use crate::backends::Backends;
use crate::codes;
use crate::competition;
use crate::diagnostic::Diagnostic;
use crate::gateway::{self, GatewayPlan, GatewayView};
use crate::listener_set;
use crate::objects::{Object, ObjectKey, Objects, Place};
use crate::policy::outcome::Outcomes;
use crate::read::{InvalidField, read};
use crate::route::{self, Dependency, RouteObject, RouteOutcome};
use crate::status::ObjectStatus;

/// What the compiler has to know besides the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The `controllerName` of the GatewayClasses that are ours, such as `tidegate.dev/gateway`.
    pub controller_name: String,
    /// Which workers serve which Gateways.
    pub pooling: Pooling,
    /// Addresses at which clients reach the workers; empty if nobody has said.
    pub addresses: Vec<IpAddr>,
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

/// Identifies a route.
type RoutePlace = (RouteKind, Place);

/// Compiles again and again while objects change, and recomputes only what depends on a change.
#[derive(Debug)]
pub struct Compiler {
    settings: Settings,
    objects: Objects,
    /// Outcomes of the last compilation.
    routes: BTreeMap<RoutePlace, RouteOutcome>,
    views: BTreeMap<Place, GatewayView>,
    /// The Gateways of ListenerSets.
    sets: BTreeMap<Place, Place>,
    totals: Totals,
    backends: Backends,
    outcomes: Outcomes,
    gateway_parts: BTreeMap<PartKey, EncodedPart>,
    /// What has changed since.
    changed_routes: BTreeSet<RoutePlace>,
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
            sets: BTreeMap::new(),
            totals: Totals::default(),
            backends: Backends::default(),
            outcomes: Outcomes::default(),
            gateway_parts: BTreeMap::new(),
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
            // A slice can move from one Service to another: both change.
            self.mark(key);
            self.objects.insert(&object, known);
            self.mark(key);
        }
        Ok(())
    }

    /// Forgets an object; one that is not there is fine.
    pub fn remove(&mut self, key: &ObjectKey) {
        self.mark(key);
        self.objects.remove(key);
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
    fn plan_gateways(&self) -> BTreeMap<Place, GatewayPlan> {
        let objects = &self.objects;
        let sets = listener_set::by_gateway(objects);
        let plans = objects.gateways.iter().filter_map(|(place, gateway)| {
            let sets = sets.get(place).map_or(&[][..], Vec::as_slice);
            let plan = gateway::plan(objects, gateway, sets, &self.settings)?;
            Some((place.clone(), plan))
        });
        let mut plans: BTreeMap<Place, GatewayPlan> = plans.collect();
        competition::settle(&mut plans, &self.settings.pooling);
        plans
    }

    fn report_foreign_gateways(
        &self,
        gateways: &BTreeMap<Place, GatewayPlan>,
        compilation: &mut Compilation,
    ) {
        for set in self.objects.listener_sets.values() {
            let parent = listener_set::parent_of(set);
            if !self.objects.gateways.contains_key(&parent) {
                let message = format!(
                    "Gateway {} does not exist; create it or correct the name",
                    parent.object
                );
                let code = &codes::SET_PARENT;
                let finding = Diagnostic::new(&set.key, "spec.parentRef", code, message);
                compilation.diagnostics.push(finding);
            }
        }
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
        let sets = self.views.iter().flat_map(|(gateway, view)| {
            let sets = view.sets.keys();
            sets.map(|set| (set.clone(), gateway.clone()))
        });
        let sets: BTreeMap<Place, Place> = sets.collect();
        let both = sets.keys().chain(self.sets.keys());
        let differing = both.filter(|place| sets.get(place) != self.sets.get(place));
        changed.extend(differing.cloned().map(Dependency::ListenerSet));
        self.sets = sets;
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
            sets: &self.sets,
            controller_name: &self.settings.controller_name,
            pool_of: &pool_of,
        };
        for place in routes {
            let previous = self.routes.remove(&place);
            if let Some(previous) = &previous {
                self.totals.subtract(previous);
            }
            let Some(route) = route_at(&self.objects, &place) else {
                continue;
            };
            let outcome = route::compile(surroundings, &route, previous.as_ref());
            self.totals.add(&outcome);
            self.routes.insert(place, outcome);
        }
    }

    /// Joins the outcomes.
    fn assemble(&mut self, gateways: &BTreeMap<Place, GatewayPlan>, compilation: &mut Compilation) {
        let mut assembly = Assembly::new(std::mem::take(&mut self.gateway_parts));
        for (place, plan) in gateways {
            let pool = self.settings.pooling.pool_of(place);
            assembly.add_gateway(&pool, plan);
            compilation.diagnostics.extend_from_slice(&plan.diagnostics);
            let statuses = plan.statuses(self.totals.attached(place), &pool);
            compilation.statuses.extend(statuses);
        }
        let needed = gateways.iter().flat_map(|(place, plan)| {
            let pool = self.settings.pooling.pool_of(place);
            let served = plan.listeners.iter().filter(|plan| plan.view.served);
            let backends = served.flat_map(|plan| &plan.backends);
            backends.map(move |backend| (pool.clone(), backend.clone()))
        });
        let needed = needed.collect();
        self.totals.set_by_listeners(needed);
        for outcome in self.routes.values() {
            compilation.statuses.extend(outcome.status.clone());
            compilation
                .diagnostics
                .extend_from_slice(&outcome.diagnostics);
        }
        assembly.add_routes(self.routes.values(), &mut compilation.diagnostics);
        let controller = &self.settings.controller_name;
        let totals = &mut self.totals;
        self.outcomes.refresh(&self.objects, totals, controller);
        for outcome in self.outcomes.iter() {
            let status = outcome.status.clone();
            compilation.statuses.extend(status);
            let diagnostics = &outcome.diagnostics;
            compilation.diagnostics.extend_from_slice(diagnostics);
        }
        self.backends.refresh(&self.objects, &mut self.totals);
        assembly.add_backends(&self.backends, &self.totals, &mut compilation.diagnostics);
        (compilation.pools, self.gateway_parts) = assembly.finish();
    }
}

fn route_at<'a>(objects: &'a Objects, (kind, place): &RoutePlace) -> Option<RouteObject<'a>> {
    match kind {
        RouteKind::Http => objects
            .http_routes
            .get(place)
            .map(|route| RouteObject::new(route)),
        RouteKind::Grpc => objects
            .grpc_routes
            .get(place)
            .map(|route| RouteObject::new(route)),
    }
}

impl Pooling {
    /// The pool that serves a Gateway.
    pub(crate) fn pool_of(&self, gateway: &Place) -> Arc<str> {
        match self {
            Self::Single { pool } => pool.as_str().into(),
            Self::PerGateway => gateway.object.to_string().into(),
        }
    }
}

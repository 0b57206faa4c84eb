//! From all objects to snapshots, statuses and findings.

mod mark;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tidegate_ir::{ObjectName, PartKey};

use crate::backends::Backends;
use crate::codes;
use crate::competition;
use crate::diagnostic::Diagnostic;
use crate::gateway::{self, GatewayPlan, GatewayView};
use crate::gateway_class;
use crate::listener_set;
use crate::objects::{Object, ObjectKey, Objects, Place};
use crate::output::{AllStatuses, Fixed, Output, Parts};
use crate::parameters;
use crate::policy::outcome::Outcomes;
use crate::read::{Checked, InvalidField, check};
use crate::route::{self, Dependency, RouteKind, RouteObject, RouteOutcome, RouteView};
use crate::totals::Totals;

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
    /// Each Gateway has a pool, named by its namespace and name, joined by `/`; those that share one of their class and
    /// namespace, named by both, joined by `/shared_`, which is no Gateway's name.
    PerGateway,
}

/// All that comes out of one compilation; cheap to clone, and to hold against the one before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compilation {
    /// The snapshot of each pool, closed under references.
    pub pools: BTreeMap<String, Arc<Parts>>,
    /// Statuses of our objects.
    pub statuses: Arc<AllStatuses>,
    /// Findings, ordered by key and field, with how often each was made.
    pub diagnostics: Arc<BTreeMap<Diagnostic, usize>>,
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
        let all = Arc::make_mut(&mut compilation.diagnostics);
        all.extend(findings.map(|finding| (finding, 1)));
    }
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
    output: Output,
    /// Findings about names that two sources use, by the route that gives way.
    clashes: BTreeMap<(RouteKind, Place, Arc<str>), Diagnostic>,
    /// Sources of routes, with their number.
    sources: BTreeMap<Arc<str>, usize>,
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
            output: Output::default(),
            clashes: BTreeMap::new(),
            sources: BTreeMap::new(),
            changed_routes: BTreeSet::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Adds or replaces an object; one of a kind that the compiler does not read changes nothing.
    ///
    /// # Errors
    /// An object that breaks its schema is refused, and what was known of it before stays.
    pub fn put(&mut self, object: Object) -> Result<(), Vec<InvalidField>> {
        let checked = check(object.key.group(), object.key.kind(), &object.content)?;
        self.put_checked(&object, checked);
        Ok(())
    }

    /// The same for an object whose content was checked already.
    pub fn put_checked(&mut self, object: &Object, checked: Checked) {
        if let Checked(Some(known)) = checked {
            self.mark(&object.key);
            self.objects.insert(object, known);
            // A slice can move from one Service to another: both change.
            if mark::is_by_content(&object.key) {
                self.mark(&object.key);
            }
        }
    }

    /// Forgets an object; one that is not there is fine.
    pub fn remove(&mut self, key: &ObjectKey) {
        self.mark(key);
        self.objects.remove(key);
    }

    /// Compiles all objects: total, and equal for equal objects, in whatever order they came.
    pub fn compile(&mut self) -> Compilation {
        let mut fixed = Fixed::default();
        let controller_name = self.settings.controller_name.clone();
        for class in self.objects.classes.values() {
            let status =
                gateway_class::status(&self.objects, class, &controller_name, &mut fixed.findings);
            fixed.add_statuses(status);
        }
        let gateways = self.plan_gateways();
        self.report_foreign_gateways(&gateways, &mut fixed.findings);
        parameters::report_unused(&self.objects, gateways.values(), &mut fixed.findings);
        self.compile_routes(&gateways);
        self.report_outranked_routes(&mut fixed.findings);
        self.assemble(&gateways, fixed);
        self.output.compilation()
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
        findings: &mut Vec<Diagnostic>,
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
                findings.push(finding);
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
            let (code, message) = match self.objects.classes.get(&class) {
                None => (
                    &codes::CLASS_NOT_FOUND,
                    format!("GatewayClass {name} does not exist; create it or correct the name"),
                ),
                Some(class) => (
                    &codes::CLASS_FOREIGN,
                    format!(
                        "GatewayClass {name} has the controllerName {}, so this Gateway is not served here; ours is {}",
                        class.spec.controller_name, self.settings.controller_name
                    ),
                ),
            };
            let field = "spec.gatewayClassName";
            findings.push(Diagnostic::new(&gateway.key, field, code, message));
        }
    }

    /// Says which TCPRoutes and UDPRoutes have an older one before them.
    fn report_outranked_routes(&self, findings: &mut Vec<Diagnostic>) {
        let by_port = [RouteKind::TCP, RouteKind::UDP];
        // The routes are in the order of their kinds, so this does not go through those of other kinds.
        let first = Place::new(&"".into(), "", "");
        let routes = by_port.iter().flat_map(|kind| {
            let routes = self.routes.range((*kind, first.clone())..);
            routes.take_while(move |((other, _), _)| other == kind)
        });
        let routes = routes.map(|((kind, place), outcome)| (*kind, place, outcome));
        route::outranked::report(routes, findings);
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
        let surroundings = route::Surroundings {
            objects: &self.objects,
            gateways: &self.views,
            sets: &self.sets,
            controller_name: &self.settings.controller_name,
        };
        let mut names = BTreeSet::new();
        for place in routes {
            let previous = self.routes.remove(&place);
            if let Some(previous) = &previous {
                self.totals.subtract(previous);
                let pools = previous.pools().cloned();
                names.extend(pools.map(|pool| (place.0, place.1.object.clone(), pool)));
            }
            let route = route_at(&self.objects, &place);
            let outcome =
                route.map(|route| route::compile(surroundings, &route, previous.as_ref()));
            if let Some(outcome) = &outcome {
                self.totals.add(outcome);
                let pools = outcome.pools().cloned();
                names.extend(pools.map(|pool| (place.0, place.1.object.clone(), pool)));
            }
            replace(&mut self.output, previous.as_ref(), outcome.as_ref());
            count(
                &mut self.sources,
                &place.1.source,
                previous.is_some(),
                outcome.is_some(),
            );
            if let Some(outcome) = outcome {
                self.routes.insert(place, outcome);
            }
        }
        for (kind, object, pool) in names {
            self.settle_name(kind, &object, &pool);
        }
        self.sources.retain(|_, routes| *routes > 0);
    }

    /// Of routes with one name in one pool, from different sources, the older one is served.
    fn settle_name(&mut self, kind: RouteKind, object: &ObjectName, pool: &Arc<str>) {
        let places = self.sources.keys().map(|source| {
            let (source, object) = (source.clone(), object.clone());
            (kind, Place { source, object })
        });
        let mut claims: Vec<_> = places
            .filter_map(|place| {
                let outcome = self.routes.get(&place)?;
                let part = outcome.part_in(pool)?;
                Some((outcome.created_at_unix_s, &outcome.key, place, part))
            })
            .collect();
        claims.sort_by_key(|(created, key, ..)| (*created, *key));
        let key = PartKey::new(kind.part_kind(), format!("{}/{object}", kind.object_kind()));
        let part = claims.first().map(|(.., part)| *part);
        self.output.set_route(pool, &key, part);
        let message = "another source has an older route of this namespace and name in the same pool; rename one of them";
        let losers: BTreeMap<RoutePlace, Diagnostic> = claims
            .iter()
            .skip(1)
            .map(|(_, key, place, _)| {
                let code = &codes::ROUTE_CLASH;
                (
                    place.clone(),
                    Diagnostic::new(key, "metadata.name", code, message),
                )
            })
            .collect();
        for source in self.sources.keys() {
            let object = object.clone();
            let place = (
                kind,
                Place {
                    source: source.clone(),
                    object,
                },
                pool.clone(),
            );
            let loses = losers.get(&(place.0, place.1.clone()));
            if let Some(before) = self.clashes.remove(&place) {
                self.output.retract_findings(&[before]);
            }
            if let Some(finding) = loses {
                self.output.add_findings(std::slice::from_ref(finding));
                self.clashes.insert(place, finding.clone());
            }
        }
    }

    /// Joins the outcomes.
    fn assemble(&mut self, gateways: &BTreeMap<Place, GatewayPlan>, mut fixed: Fixed) {
        let mut needed = BTreeSet::new();
        for (place, plan) in gateways {
            let pool = &plan.pool;
            fixed.add_gateway(pool, plan, self.output.fixed());
            fixed.findings.extend_from_slice(&plan.diagnostics);
            fixed.add_statuses(plan.statuses(self.totals.attached(place)));
            let served = plan.listeners.iter().filter(|plan| plan.view.served);
            let backends = served.flat_map(|plan| &plan.backends);
            needed.extend(backends.map(|backend| (pool.clone(), backend.clone())));
        }
        self.totals.set_by_listeners(needed);
        let controller = &self.settings.controller_name;
        let totals = &mut self.totals;
        self.outcomes.refresh(&self.objects, totals, controller);
        for outcome in self.outcomes.iter() {
            fixed.add_statuses(outcome.status.clone());
            fixed.findings.extend_from_slice(&outcome.diagnostics);
        }
        let ports = self.backends.refresh(&self.objects, totals);
        self.output.refresh_backends(&self.backends, totals, ports);
        self.output.set_fixed(fixed);
    }
}

/// Puts what a route contributes in the place of what it did before.
fn replace(output: &mut Output, before: Option<&RouteOutcome>, now: Option<&RouteOutcome>) {
    let status =
        |outcome: Option<&RouteOutcome>| outcome.and_then(|outcome| outcome.status.clone());
    let key = now.or(before).map(|outcome| outcome.key.clone());
    if let Some(key) = key
        && status(before) != status(now)
    {
        output.set_status(&key, status(now).as_ref());
    }
    let findings = |outcome: Option<&RouteOutcome>| {
        outcome
            .map(|outcome| outcome.diagnostics.clone())
            .unwrap_or_default()
    };
    let (before, now) = (findings(before), findings(now));
    if before != now {
        output.retract_findings(&before);
        output.add_findings(&now);
    }
}

fn count(sources: &mut BTreeMap<Arc<str>, usize>, source: &Arc<str>, was: bool, is: bool) {
    let routes = sources.entry(source.clone()).or_default();
    *routes = *routes + usize::from(is) - usize::from(was);
}

fn route_at<'a>(objects: &'a Objects, (kind, place): &RoutePlace) -> Option<RouteObject<'a>> {
    macro_rules! route {
        ($table:ident, $view:expr) => {{
            let route = objects.$table.get(place)?;
            RouteObject::new(route, $view)
        }};
    }
    Some(match *kind {
        RouteKind::HTTP => route!(http_routes, RouteView::from),
        RouteKind::GRPC => route!(grpc_routes, RouteView::from),
        RouteKind::TLS => route!(tls_routes, RouteView::from),
        RouteKind::TCP => route!(tcp_routes, RouteView::of_tcp),
        RouteKind::UDP => route!(udp_routes, RouteView::of_udp),
    })
}

impl Pooling {
    /// The pool that serves a Gateway.
    pub(crate) fn pool_of(&self, gateway: &ObjectName, class: &str, is_shared: bool) -> Arc<str> {
        match self {
            Self::Single { pool } => pool.as_str().into(),
            Self::PerGateway if is_shared => format!("{}/shared_{class}", gateway.namespace).into(),
            Self::PerGateway => gateway.to_string().into(),
        }
    }
}

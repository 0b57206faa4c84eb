//! HTTPRoutes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use tidegate_ir::{
    Action, Attachment, EncodedPart, Hostname, Match, Part, Route, RouteKind, Rule, Target,
    Timeouts, WeightedBackend,
};

use super::attach::{Rejection, Visitor, attach, namespace_labels};
use super::backend_ref::References;
use super::{Dependency, Findings, RouteOutcome, filter, matcher, parent_status};
use crate::api::GATEWAY_GROUP;
use crate::api::http_route::{HttpBackendRef, HttpRouteRule, HttpRouteSpec};
use crate::api::meta::ParentReference;
use crate::codes;
use crate::duration;
use crate::gateway::GatewayView;
use crate::objects::{Objects, Parsed, Place};
use crate::status::{Condition, ObjectStatus};

/// What routes are compiled against.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) objects: &'a Objects,
    /// The Gateways of our classes.
    pub(crate) gateways: &'a BTreeMap<Place, GatewayView>,
    pub(crate) controller_name: &'a str,
    pub(crate) pool_of: &'a dyn Fn(&Place) -> Arc<str>,
}

/// Compiles one route; parts that equal those of `previous` are taken from there.
pub(crate) fn compile(
    surroundings: Surroundings<'_>,
    route: &Parsed<HttpRouteSpec>,
    previous: Option<&RouteOutcome>,
) -> RouteOutcome {
    let mut findings = Findings {
        key: &route.key,
        diagnostics: vec![],
    };
    let mut references = References {
        objects: surroundings.objects,
        route: &route.key,
        dependencies: BTreeSet::new(),
        backends: BTreeSet::new(),
        unresolved: None,
    };
    let rules = compile_rules(&route.spec.rules, &mut references, &mut findings);
    let mut joining = Joining {
        surroundings,
        route,
        rules: &rules,
        dependencies: BTreeSet::new(),
        attached: BTreeSet::new(),
        attachments: BTreeMap::new(),
    };
    let parents = joining.join(&references, &mut findings);
    let Joining {
        attached,
        attachments,
        dependencies,
        ..
    } = joining;
    let status = (!parents.is_empty()).then(|| ObjectStatus {
        key: route.key.clone(),
        uid: route.uid.clone(),
        generation: route.generation,
        status: json!({ "parents": parents }),
    });
    let parts = attachments.into_iter().map(|(pool, attachments)| {
        let part = Part::Route(Route {
            kind: RouteKind::Http,
            object: route.name(),
            created_at_unix_s: route.created_at_unix_s,
            attachments: attachments.into_values().collect(),
            rules: rules.rules.clone(),
        });
        let known = previous.and_then(|previous| previous.parts.get(&pool));
        let encoded = match known {
            Some(known) if **known.part() == part => known.clone(),
            _ => EncodedPart::encode(part),
        };
        (pool, encoded)
    });
    let mut diagnostics = findings.diagnostics;
    diagnostics.sort();
    let used: BTreeSet<_> = rules.rules.iter().flat_map(Rule::backends).collect();
    let mut backends = references.backends;
    backends.retain(|backend| used.contains(&backend.part_name()));
    RouteOutcome {
        key: route.key.clone(),
        created_at_unix_s: route.created_at_unix_s,
        status,
        diagnostics,
        attached,
        parts: parts.collect(),
        backends,
        dependencies: dependencies
            .into_iter()
            .chain(references.dependencies)
            .collect(),
    }
}

/// The rules as the worker gets them, and what is wrong with them.
struct Rules {
    rules: Vec<Rule>,
    /// Messages of rules that cannot be carried out.
    unsupported: Vec<String>,
    /// Whether every rule is one of those.
    none_left: bool,
}

fn compile_rules(
    objects: &[HttpRouteRule],
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
) -> Rules {
    let mut rules = vec![];
    let mut unsupported = vec![];
    let mut sound = 0;
    for (index, object) in objects.iter().enumerate() {
        let field = format!("rules[{index}]");
        let outcome = RuleParts::compile(object, &field, references, findings);
        sound += usize::from(outcome.problems.is_empty());
        let fault = outcome.problems.first().cloned();
        unsupported.extend(outcome.problems);
        // A rule without matches left can get no request.
        if outcome.matches.is_empty() {
            continue;
        }
        rules.push(Rule {
            name: object.name.as_deref().map(Arc::from),
            matches: outcome.matches,
            filters: outcome.filters,
            action: match fault {
                Some(problem) => Action::Fault(problem.into()),
                None => outcome.action,
            },
            timeouts: timeouts(object),
        });
    }
    report_shadowed(objects, &rules, findings);
    Rules {
        rules,
        none_left: sound == 0 && !unsupported.is_empty(),
        unsupported,
    }
}

/// The parts of a rule before it is known whether they can be used.
struct RuleParts {
    matches: Vec<Match>,
    filters: Vec<tidegate_ir::Filter>,
    action: Action,
    problems: Vec<String>,
}

impl RuleParts {
    fn compile(
        object: &HttpRouteRule,
        field: &str,
        references: &mut References<'_>,
        findings: &mut Findings<'_>,
    ) -> Self {
        let mut problems = vec![];
        let matches = matches(object, field, findings, &mut problems);
        let unsupported = [
            ("retry", &object.retry),
            ("sessionPersistence", &object.session_persistence),
        ];
        for (name, _) in unsupported.into_iter().filter(|(_, value)| value.is_some()) {
            let field = format!("{field}.{name}");
            let message = format!("{name} is not supported yet; remove it");
            findings.report(&field, &codes::UNSUPPORTED_VALUE, &message);
            problems.push(format!("{field}: {message}"));
        }
        let filters = filter::of_rule(&object.filters, field, references, findings);
        let filters = filters.unwrap_or_else(|problem| {
            problems.push(problem);
            filter::Filters::default()
        });
        let backends = &object.backend_refs;
        let action = match (filters.redirect, problems.first()) {
            (Some(redirect), _) => Action::Redirect(redirect),
            (None, Some(problem)) if backends.is_empty() => Action::Fault(problem.as_str().into()),
            (None, _) => forward(backends, field, references, findings, &mut problems),
        };
        Self {
            matches,
            filters: filters.filters,
            action,
            problems,
        }
    }
}

fn matches(
    object: &HttpRouteRule,
    field: &str,
    findings: &mut Findings<'_>,
    problems: &mut Vec<String>,
) -> Vec<Match> {
    if object.matches.is_empty() {
        return vec![matcher::any()];
    }
    let mut matches = vec![];
    for (index, object) in object.matches.iter().enumerate() {
        match matcher::compile(object, &format!("{field}.matches[{index}]"), findings) {
            Ok(compiled) => matches.push(compiled),
            Err(problem) => problems.push(problem),
        }
    }
    matches
}

fn forward(
    objects: &[HttpBackendRef],
    field: &str,
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
    problems: &mut Vec<String>,
) -> Action {
    if objects.is_empty() {
        let message = "the rule has no backendRefs, so its requests get 500; add one";
        findings.report(field, &codes::NO_BACKENDS, message);
        return Action::Fault(format!("{field}: {message}").into());
    }
    let mut choices = vec![];
    for (index, object) in objects.iter().enumerate() {
        let field = format!("{field}.backendRefs[{index}]");
        let filters = filter::of_backend(&object.filters, &field, findings);
        let filters = filters.unwrap_or_else(|problem| {
            problems.push(problem);
            vec![]
        });
        let target = match references.resolve(&object.target(), &field, findings) {
            Ok(backend) => Target::Backend(backend.part_name()),
            Err(problem) => Target::Fault(problem.into()),
        };
        choices.push(WeightedBackend {
            weight: u32::try_from(object.weight).expect("the rules of the kind bound it"),
            target,
            filters,
        });
    }
    if choices.iter().all(|choice| choice.weight == 0) {
        let message = "all backendRefs have weight 0, so requests get 500; give one a weight";
        findings.report(field, &codes::ZERO_WEIGHTS, message);
        return Action::Fault(format!("{field}: {message}").into());
    }
    Action::Forward(choices)
}

/// A duration of zero switches the bound off.
fn timeouts(object: &HttpRouteRule) -> Timeouts {
    let ms = |text: &Option<String>| duration::parse_ms(text.as_deref()?).filter(|ms| *ms > 0);
    let timeouts = object.timeouts.as_ref();
    Timeouts {
        request_ms: timeouts.and_then(|timeouts| ms(&timeouts.request)),
        backend_request_ms: timeouts.and_then(|timeouts| ms(&timeouts.backend_request)),
    }
}

/// The first of two identical matches wins, so the second one is of no use.
fn report_shadowed(objects: &[HttpRouteRule], rules: &[Rule], findings: &mut Findings<'_>) {
    // Rules that were dropped shift the numbers; their own findings come first then.
    if rules.len() != objects.len() {
        return;
    }
    let mut known: Vec<(usize, usize, &Match)> = vec![];
    for (rule_index, rule) in rules.iter().enumerate() {
        for (index, own) in rule.matches.iter().enumerate() {
            match known.iter().find(|(.., other)| *other == own) {
                Some((other_rule, other, _)) => {
                    let field = format!("rules[{rule_index}].matches[{index}]");
                    let message = format!(
                        "rules[{other_rule}].matches[{other}] is identical and comes first, so this one never gets a request; remove it"
                    );
                    findings.report(&field, &codes::SHADOWED_MATCH, &message);
                }
                None => known.push((rule_index, index, own)),
            }
        }
    }
}

/// Joins a route with the listeners of its parents.
struct Joining<'a> {
    surroundings: Surroundings<'a>,
    route: &'a Parsed<HttpRouteSpec>,
    rules: &'a Rules,
    dependencies: BTreeSet<Dependency>,
    attached: BTreeSet<(Place, Arc<str>)>,
    attachments: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Attachment>>,
}

impl Joining<'_> {
    /// The entries of `status.parents`.
    fn join(
        &mut self,
        references: &References<'_>,
        findings: &mut Findings<'_>,
    ) -> Vec<serde_json::Value> {
        let key = &self.route.key;
        let namespace = Place::cluster_wide(&key.source, &key.namespace);
        let labels = namespace_labels(self.surroundings.objects, &namespace);
        self.dependencies.insert(Dependency::Namespace(namespace));
        let hostnames = hostnames(&self.route.spec.hostnames);
        let visitor = Visitor {
            namespace: &key.namespace,
            namespace_labels: &labels,
            hostnames: &hostnames,
        };
        let resolved = match &references.unresolved {
            None => Condition::yes(
                "ResolvedRefs",
                "ResolvedRefs",
                "All references are resolved",
            ),
            Some((reason, message)) => Condition::no("ResolvedRefs", reason, message),
        };
        if self.route.spec.parent_refs.is_empty() {
            let message = "the route names no parent, so nothing serves it; add one";
            findings.report("parentRefs", &codes::NO_PARENTS, message);
        }
        if self.route.spec.use_default_gateways.is_some() {
            let message =
                "useDefaultGateways is not supported yet; name the Gateways in parentRefs";
            findings.report("useDefaultGateways", &codes::UNSUPPORTED_VALUE, message);
        }
        let mut parents = vec![];
        for (index, parent) in self.route.spec.parent_refs.iter().enumerate() {
            let field = format!("parentRefs[{index}]");
            let Some(accepted) = self.accept(parent, &field, &visitor, findings) else {
                continue;
            };
            let partial = (accepted.status && !self.rules.unsupported.is_empty()).then(|| {
                let message = format!(
                    "Dropped Rule: its requests get 500. {}",
                    self.rules.unsupported.join(". ")
                );
                Condition::yes("PartiallyInvalid", "UnsupportedValue", message)
            });
            let own: Vec<_> = [accepted, resolved.clone()]
                .into_iter()
                .chain(partial)
                .collect();
            let controller_name = self.surroundings.controller_name;
            parents.push(parent_status(
                parent,
                controller_name,
                &own,
                self.route.generation,
            ));
        }
        parents
    }

    /// Attaches by one parentRef; `None` if the parent is not ours.
    fn accept(
        &mut self,
        parent: &ParentReference,
        field: &str,
        visitor: &Visitor<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Condition> {
        if (parent.group.as_str(), parent.kind.as_str()) != (GATEWAY_GROUP, "Gateway") {
            let message = format!(
                "{} {} is not supported as a parent; use a Gateway",
                parent.kind, parent.name
            );
            findings.report(field, &codes::PARENT_KIND, &message);
            return None;
        }
        let key = &self.route.key;
        let namespace = parent.namespace.as_deref().unwrap_or(&key.namespace);
        let place = Place::new(&key.source, namespace, &parent.name);
        self.dependencies.insert(Dependency::Gateway(place.clone()));
        let Some(gateway) = self.surroundings.gateways.get(&place) else {
            if !self.surroundings.objects.gateways.contains_key(&place) {
                let message = format!(
                    "Gateway {} does not exist; create it or correct the name",
                    place.object
                );
                findings.report(field, &codes::PARENT_NOT_FOUND, &message);
            }
            return None;
        };
        let taken = match attach(gateway, namespace, parent, visitor) {
            Ok(taken) => taken,
            Err(rejection) => {
                return Some(rejected(
                    &rejection, gateway, parent, &place, visitor, field, findings,
                ));
            }
        };
        if self.rules.none_left {
            let message = self.rules.unsupported.join(". ");
            return Some(Condition::no("Accepted", "UnsupportedValue", message));
        }
        let pool = (self.surroundings.pool_of)(&place);
        for taken in taken {
            self.attached.insert((place.clone(), taken.section_name));
            if let Some(attachment) = taken.attachment {
                let attachments = self.attachments.entry(pool.clone()).or_default();
                attachments.insert(attachment.listener.clone(), attachment);
            }
        }
        Some(Condition::yes(
            "Accepted",
            "Accepted",
            "The route is accepted",
        ))
    }
}

fn rejected(
    rejection: &Rejection,
    gateway: &GatewayView,
    parent: &ParentReference,
    place: &Place,
    visitor: &Visitor<'_>,
    field: &str,
    findings: &mut Findings<'_>,
) -> Condition {
    let name = &place.object;
    let (reason, code, message) = match rejection {
        Rejection::NoMatchingParent => {
            let section = parent.section_name.as_ref();
            let section = section
                .map(|section| format!(" named {section}"))
                .unwrap_or_default();
            let port = parent
                .port
                .map(|port| format!(" on port {port}"))
                .unwrap_or_default();
            let listeners = gateway.listeners.iter();
            let listeners =
                listeners.map(|listener| format!("{}:{}", listener.section_name, listener.port));
            let listeners: Vec<_> = listeners.collect();
            let message = format!(
                "Gateway {name} has no listener{section}{port}; it has {}",
                listeners.join(", ")
            );
            ("NoMatchingParent", &codes::NO_MATCHING_PARENT, message)
        }
        Rejection::NotAllowedByListeners => {
            let message = format!(
                "no listener of Gateway {name} allows HTTPRoutes from namespace {}; see its allowedRoutes",
                visitor.namespace
            );
            (
                "NotAllowedByListeners",
                &codes::NOT_ALLOWED_BY_LISTENERS,
                message,
            )
        }
        Rejection::NoMatchingListenerHostname => {
            let listeners = gateway.listeners.iter();
            let hosts = listeners.map(|listener| listener.hostname.to_string());
            let hosts: BTreeSet<_> = hosts.collect();
            let hosts: Vec<_> = hosts.into_iter().collect();
            let message = format!(
                "no hostname of the route fits a listener of Gateway {name}; they have {}",
                hosts.join(", ")
            );
            (
                "NoMatchingListenerHostname",
                &codes::NO_MATCHING_HOSTNAME,
                message,
            )
        }
    };
    findings.report(field, code, &message);
    Condition::no("Accepted", reason, format!("{field}: {message}"))
}

/// The hostnames of a route; without any it serves every host.
fn hostnames(texts: &[String]) -> Vec<Hostname> {
    if texts.is_empty() {
        return vec![Hostname::Any];
    }
    let parsed = texts.iter().map(|text| Hostname::parse(text));
    parsed
        .map(|host| host.expect("the rules of the kind check it"))
        .collect()
}

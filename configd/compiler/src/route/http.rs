//! HTTPRoutes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use tidegate_ir::{
    Action, EncodedPart, Match, Part, Route, RouteKind, Rule, Target, Timeouts, WeightedBackend,
};

use super::backend_ref::References;
use super::join::Joining;
use super::{Findings, RouteOutcome, filter, matcher};
use crate::api::http_route::{HttpBackendRef, HttpRouteRule, HttpRouteSpec};
use crate::codes;
use crate::duration;
use crate::gateway::GatewayView;
use crate::objects::{Objects, Parsed, Place};
use crate::status::ObjectStatus;

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
    let mut joining = Joining::new(surroundings, route, &rules);
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
        status: Arc::new(json!({ "parents": parents })),
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
pub(super) struct Rules {
    rules: Vec<Rule>,
    /// Messages of rules that cannot be carried out.
    pub(super) unsupported: Vec<String>,
    /// Whether every rule is one of those.
    pub(super) none_left: bool,
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
            retry: None,
            session: None,
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
            ("retry", object.retry.is_some()),
            ("sessionPersistence", object.session_persistence.is_some()),
        ];
        for (name, _) in unsupported.into_iter().filter(|(_, is_set)| *is_set) {
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

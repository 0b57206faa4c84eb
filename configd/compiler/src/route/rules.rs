//! The rules of routes: matches, filters, and where requests go.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_ir::{
    Action, Attachment, L4Choice, L4Route, L4RouteKind, Match, ObjectName, Part, PartName, Retry,
    Route, RouteKind, Rule, Target, Timeouts, WeightedBackend,
};

use super::backend_ref::References;
use super::view::{BackendView, RuleView, RulesView};
use super::{Findings, filter, l4};
use crate::api::http_route::HttpRouteRetry;
use crate::codes;
use crate::duration;
use crate::session;

/// The rules as the worker gets them, and what is wrong with them.
pub(super) struct Rules {
    pub(super) content: Content,
    /// Messages of rules that cannot be carried out.
    pub(super) unsupported: Vec<String>,
    /// Whether every rule is one of those.
    pub(super) none_left: bool,
}

/// The rules of a route as the worker gets them.
pub(super) enum Content {
    L7(RouteKind, Vec<Rule>),
    L4(L4RouteKind, Option<Arc<str>>, Vec<L4Choice>),
}

/// Compiles the rules of a route of any kind.
pub(super) fn compile(
    objects: &RulesView<'_>,
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
) -> Rules {
    match objects {
        RulesView::L7(kind, rules) => of_requests(*kind, rules, references, findings),
        RulesView::L4(kind, rule) => Rules {
            content: Content::L4(
                *kind,
                rule.name.as_deref().map(Arc::from),
                l4::choices(rule, references, findings),
            ),
            unsupported: vec![],
            none_left: false,
        },
    }
}

fn of_requests(
    kind: RouteKind,
    objects: &[RuleView<'_>],
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
) -> Rules {
    let mut rules = vec![];
    let mut unsupported = vec![];
    let mut sound = 0;
    for (index, object) in objects.iter().enumerate() {
        let mut problems = vec![];
        let rule = rule(object, index, references, findings, &mut problems);
        sound += usize::from(problems.is_empty());
        unsupported.extend(problems);
        // A rule without matches left can get no request.
        if !rule.matches.is_empty() {
            rules.push(rule);
        }
    }
    report_shadowed(objects, &rules, findings);
    Rules {
        content: Content::L7(kind, rules),
        none_left: sound == 0 && !unsupported.is_empty(),
        unsupported,
    }
}

impl Content {
    /// Whether nothing can get to the route.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::L7(_, rules) => rules.is_empty(),
            Self::L4(..) => false,
        }
    }

    /// The backends that something can go to.
    pub(super) fn backends(&self) -> BTreeSet<&PartName> {
        match self {
            Self::L7(_, rules) => rules.iter().flat_map(Rule::backends).collect(),
            Self::L4(.., choices) => choices.iter().filter_map(L4Choice::backend).collect(),
        }
    }

    /// The part of the route with these attachments.
    pub(super) fn part(
        &self,
        object: ObjectName,
        created_at_unix_s: i64,
        attachments: Vec<Attachment>,
    ) -> Part {
        match self {
            Self::L7(kind, rules) => Part::Route(Route {
                kind: *kind,
                object,
                created_at_unix_s,
                attachments,
                rules: rules.clone(),
            }),
            Self::L4(kind, rule_name, choices) => Part::L4Route(L4Route {
                kind: *kind,
                object,
                created_at_unix_s,
                attachments,
                rule_name: rule_name.clone(),
                choices: choices.clone(),
            }),
        }
    }
}

/// One rule; what of it cannot be carried out is added to the problems and makes it a fault.
fn rule(
    object: &RuleView<'_>,
    index: usize,
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
    problems: &mut Vec<String>,
) -> Rule {
    let field = format!("rules[{index}]");
    let matches = object.matches.compile(&field, findings, problems);
    let filters = filter::of_rule(&object.filters, &field, references, findings);
    let filters = filters.unwrap_or_else(|problem| {
        problems.push(problem);
        filter::Filters::default()
    });
    let action = match (filters.redirect, problems.first()) {
        (Some(redirect), _) => Action::Redirect(Arc::new(redirect)),
        (None, Some(problem)) if object.backends.is_empty() => {
            Action::Fault(problem.as_str().into())
        }
        (None, _) => forward(&object.backends, &field, references, findings, problems),
    };
    let route = references.route;
    Rule {
        name: object.name.map(Arc::from),
        matches,
        filters: filters.filters,
        action: match problems.first() {
            Some(problem) => Action::Fault(problem.as_str().into()),
            None => action,
        },
        timeouts: timeouts(object),
        retry: object.retry.map(retry).map(Arc::new),
        session: object.session.map(|session| {
            // By the name of the rule where it has one: a rule before it does not end its sessions then.
            let rule = object.name.map_or_else(|| index.to_string(), str::to_owned);
            let owner = format!(
                "{}/{}/{}/{rule}",
                route.kind(),
                route.namespace(),
                route.name()
            );
            Arc::new(session::compile(session, &owner))
        }),
    }
}

/// Attempts beyond the first: one if nothing is said (GEP-1731).
fn retry(object: &HttpRouteRetry) -> Retry {
    let codes: BTreeSet<u16> = object
        .codes
        .iter()
        .filter_map(|code| u16::try_from(*code).ok())
        .collect();
    let backoff = object.backoff.as_deref().and_then(duration::parse_ms);
    Retry {
        attempts: u32::try_from(object.attempts.unwrap_or(1)).unwrap_or(0),
        codes: codes.into_iter().collect(),
        backoff_ms: backoff.unwrap_or(0),
    }
}

fn forward(
    objects: &[BackendView<'_>],
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
        let filters = filter::of_backend(&object.filters, &field, references, findings);
        let filters = filters.unwrap_or_else(|problem| {
            problems.push(problem);
            vec![]
        });
        let target =
            match references.resolve(&object.target, references.traffic(), &field, findings) {
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
fn timeouts(object: &RuleView<'_>) -> Timeouts {
    let ms = |text: &Option<String>| duration::parse_ms(text.as_deref()?).filter(|ms| *ms > 0);
    let timeouts = object.timeouts;
    Timeouts {
        request_ms: timeouts.and_then(|timeouts| ms(&timeouts.request)),
        backend_request_ms: timeouts.and_then(|timeouts| ms(&timeouts.backend_request)),
    }
}

/// The first of two identical matches wins, so the second one is of no use.
fn report_shadowed(objects: &[RuleView<'_>], rules: &[Rule], findings: &mut Findings<'_>) {
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

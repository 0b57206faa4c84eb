//! The rules of routes: matches, filters, and where requests go.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_ir::{Action, Match, Retry, Rule, Target, Timeouts, WeightedBackend};

use super::backend_ref::References;
use super::view::{BackendView, RuleView};
use super::{Findings, filter};
use crate::api::http_route::HttpRouteRetry;
use crate::codes;
use crate::duration;
use crate::session;

/// The rules as the worker gets them, and what is wrong with them.
pub(super) struct Rules {
    pub(super) rules: Vec<Rule>,
    /// Messages of rules that cannot be carried out.
    pub(super) unsupported: Vec<String>,
    /// Whether every rule is one of those.
    pub(super) none_left: bool,
}

pub(super) fn compile(
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
        rules,
        none_left: sound == 0 && !unsupported.is_empty(),
        unsupported,
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
        (Some(redirect), _) => Action::Redirect(redirect),
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
        retry: object.retry.map(retry),
        session: object.session.map(|session| {
            // By the name of the rule where it has one: a rule before it does not end its sessions then.
            let rule = object.name.map_or_else(|| index.to_string(), str::to_owned);
            let owner = format!("{}/{}/{}/{rule}", route.kind, route.namespace, route.name);
            session::compile(session, &owner)
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
            match references.resolve(&object.target, references.speaks_grpc(), &field, findings) {
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

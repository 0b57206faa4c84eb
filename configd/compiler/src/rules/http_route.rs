//! Rules of HTTPRoutes.

use std::collections::BTreeSet;

use super::Violations;
use super::http_filter::filters;
use super::session::session;
use crate::api::GATEWAY_GROUP;
use crate::api::http_route::{
    HttpBackendRef, HttpPathMatch, HttpRouteMatch, HttpRouteRetry, HttpRouteRule, HttpRouteSpec,
    HttpValueMatch,
};
use crate::api::meta::ParentReference;
use crate::read::InvalidField;

pub(crate) fn http_route(spec: &HttpRouteSpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    violations.length("spec.parentRefs", &spec.parent_refs, 0, 32);
    parent_refs(&mut violations, &spec.parent_refs);
    violations.length("spec.hostnames", &spec.hostnames, 0, 16);
    for (index, hostname) in spec.hostnames.iter().enumerate() {
        violations.hostname(&format!("spec.hostnames[{index}]"), hostname);
    }
    violations.length("spec.rules", &spec.rules, 1, 16);
    let matches: usize = spec.rules.iter().map(|rule| rule.matches.len()).sum();
    let message = "all rules together have more than 128 matches; split the route";
    violations.require(matches <= 128, "spec.rules", message);
    let mut names = BTreeSet::new();
    for (index, item) in spec.rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        violations.rule_name(&field, item.name.as_deref(), &mut names);
        rule(&mut violations, &field, item);
    }
    violations.0
}

/// Parents of one object must be told apart by section or port.
pub(super) fn parent_refs(violations: &mut Violations, parents: &[ParentReference]) {
    let same = |a: &ParentReference, b: &ParentReference| {
        (&a.group, &a.kind, &a.namespace, &a.name) == (&b.group, &b.kind, &b.namespace, &b.name)
    };
    for (index, own) in parents.iter().enumerate() {
        let field = format!("spec.parentRefs[{index}]");
        violations.name(&format!("{field}.name"), &own.name);
        if own.group == GATEWAY_GROUP {
            violations.require(
                own.port != Some(0),
                &format!("{field}.port"),
                "a port is a number from 1 to 65535",
            );
        }
        let Some((other, twin)) = parents[..index]
            .iter()
            .enumerate()
            .find(|(_, other)| same(own, other))
        else {
            continue;
        };
        let distinct = match (&own.section_name, &twin.section_name) {
            (Some(own_section), Some(section)) => own_section != section || own.port != twin.port,
            (None, None) => own.port.is_some() && twin.port.is_some() && own.port != twin.port,
            _ => false,
        };
        let message = format!(
            "spec.parentRefs[{other}] names the same parent; give both a sectionName or a port, and different ones"
        );
        violations.require(distinct, &field, &message);
    }
}

fn rule(violations: &mut Violations, field: &str, rule: &HttpRouteRule) {
    violations.length(&format!("{field}.matches"), &rule.matches, 0, 64);
    violations.length(&format!("{field}.filters"), &rule.filters, 0, 16);
    violations.length(&format!("{field}.backendRefs"), &rule.backend_refs, 0, 16);
    for (index, item) in rule.matches.iter().enumerate() {
        route_match(violations, &format!("{field}.matches[{index}]"), item);
    }
    filters(violations, field, &rule.filters, rule);
    let redirects = rule
        .filters
        .iter()
        .any(|filter| filter.request_redirect.is_some());
    let message = "a rule that redirects cannot have backendRefs; remove one of them";
    let path = format!("{field}.backendRefs");
    violations.require(!redirects || rule.backend_refs.is_empty(), &path, message);
    for (index, backend) in rule.backend_refs.iter().enumerate() {
        let field = format!("{field}.backendRefs[{index}]");
        backend_ref(violations, &field, backend);
        filters(violations, &field, &backend.filters, rule);
    }
    timeouts(violations, field, rule);
    if let Some(own) = &rule.retry {
        retry(violations, &format!("{field}.retry"), own);
    }
    if let Some(persistence) = &rule.session_persistence {
        session(
            violations,
            &format!("{field}.sessionPersistence"),
            persistence,
        );
    }
}

fn retry(violations: &mut Violations, field: &str, retry: &HttpRouteRetry) {
    violations.number(
        &format!("{field}.attempts"),
        retry.attempts,
        0,
        i64::from(i32::MAX),
    );
    for (index, code) in retry.codes.iter().enumerate() {
        violations.number(&format!("{field}.codes[{index}]"), Some(*code), 400, 599);
    }
    if let Some(backoff) = &retry.backoff {
        violations.duration(&format!("{field}.backoff"), backoff);
    }
}

fn timeouts(violations: &mut Violations, field: &str, rule: &HttpRouteRule) {
    let Some(timeouts) = &rule.timeouts else {
        return;
    };
    let mut read = |name: &str, text: &Option<String>| {
        let text = text.as_deref()?;
        violations.duration(&format!("{field}.timeouts.{name}"), text)
    };
    let request = read("request", &timeouts.request);
    let backend_request = read("backendRequest", &timeouts.backend_request);
    if let (Some(request), Some(backend_request)) = (request, backend_request) {
        let good = request == 0 || backend_request <= request;
        let message = "it cannot be longer than timeouts.request, which bounds the whole request";
        violations.require(good, &format!("{field}.timeouts.backendRequest"), message);
    }
}

fn route_match(violations: &mut Violations, field: &str, item: &HttpRouteMatch) {
    if let Some(path) = &item.path {
        path_match(violations, &format!("{field}.path.value"), path);
    }
    violations.length(&format!("{field}.headers"), &item.headers, 0, 16);
    violations.length(&format!("{field}.queryParams"), &item.query_params, 0, 16);
    value_matches(violations, &format!("{field}.headers"), &item.headers);
    value_matches(
        violations,
        &format!("{field}.queryParams"),
        &item.query_params,
    );
}

fn path_match(violations: &mut Violations, field: &str, path: &HttpPathMatch) {
    let value = path.value.as_str();
    violations.require(
        value.len() <= 1024,
        field,
        "a path has at most 1024 characters",
    );
    if !matches!(path.type_.as_str(), "Exact" | "PathPrefix") {
        return;
    }
    absolute_path(violations, field, value);
}

fn absolute_path(violations: &mut Violations, field: &str, value: &str) {
    violations.require(value.starts_with('/'), field, "a path begins with /");
    let lower = value.to_ascii_lowercase();
    let parts = ["//", "/./", "/../", "%2f", "#"];
    for part in parts.into_iter().filter(|part| lower.contains(part)) {
        violations.add(field, format!("a path cannot contain {part}"));
    }
    for end in ["/..", "/."].into_iter().filter(|end| value.ends_with(end)) {
        violations.add(field, format!("a path cannot end with {end}"));
    }
    let good = has_only_path_characters(value.as_bytes());
    violations.require(
        good,
        field,
        "a path has only characters of RFC 3986; encode others as %XX",
    );
}

pub(super) fn has_only_path_characters(mut bytes: &[u8]) -> bool {
    while let [first, rest @ ..] = bytes {
        bytes = match (first, rest) {
            (b'%', [high, low, rest @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest
            }
            (b'#', rest) => rest,
            (byte, rest)
                if byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(byte) =>
            {
                rest
            }
            _ => return false,
        };
    }
    true
}

pub(super) fn value_matches(violations: &mut Violations, field: &str, matches: &[HttpValueMatch]) {
    for (index, item) in matches.iter().enumerate() {
        token(violations, &format!("{field}[{index}].name"), &item.name);
        let good = (1..=4096).contains(&item.value.len());
        violations.require(
            good,
            &format!("{field}[{index}].value"),
            "a value has 1 to 4096 characters",
        );
    }
}

/// The name of a header or query parameter, as RFC 9110 calls a token.
pub(super) fn token(violations: &mut Violations, path: &str, name: &str) {
    let good = (1..=256).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    let message = format!("{name:?} is not a name of 1 to 256 letters, digits and !#$%&'*+-.^_`|~");
    violations.require(good, path, &message);
}

fn backend_ref(violations: &mut Violations, field: &str, backend: &HttpBackendRef) {
    violations.name(&format!("{field}.name"), &backend.name);
    violations.weight(field, backend.weight);
    service_port(
        violations,
        field,
        &backend.group,
        &backend.kind,
        backend.port,
    );
}

pub(super) fn service_port(
    violations: &mut Violations,
    field: &str,
    group: &str,
    kind: &str,
    port: Option<u16>,
) {
    let path = format!("{field}.port");
    match port {
        Some(port) => violations.port(&path, port),
        None if group.is_empty() && kind == "Service" => {
            violations.add(path, "a reference to a Service needs a port");
        }
        None => {}
    }
}

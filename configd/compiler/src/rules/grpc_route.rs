//! Rules of GRPCRoutes.

use std::collections::BTreeSet;

use super::Violations;
use super::http_filter::{header_filter, mirror_filter};
use super::http_route::{parent_refs, service_port, value_matches};
use super::session::session;
use crate::api::grpc_route::{GrpcMethodMatch, GrpcRouteFilter, GrpcRouteRule, GrpcRouteSpec};
use crate::read::InvalidField;

pub(crate) fn grpc_route(spec: &GrpcRouteSpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    violations.length("spec.parentRefs", &spec.parent_refs, 0, 32);
    parent_refs(&mut violations, &spec.parent_refs);
    violations.length("spec.hostnames", &spec.hostnames, 0, 16);
    for (index, hostname) in spec.hostnames.iter().enumerate() {
        violations.hostname(&format!("spec.hostnames[{index}]"), hostname);
    }
    violations.length("spec.rules", &spec.rules, 0, 16);
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

fn rule(violations: &mut Violations, field: &str, rule: &GrpcRouteRule) {
    violations.length(&format!("{field}.matches"), &rule.matches, 0, 64);
    violations.length(&format!("{field}.backendRefs"), &rule.backend_refs, 0, 16);
    for (index, item) in rule.matches.iter().enumerate() {
        let field = format!("{field}.matches[{index}]");
        violations.length(&format!("{field}.headers"), &item.headers, 0, 16);
        value_matches(violations, &format!("{field}.headers"), &item.headers);
        if let Some(method) = &item.method {
            method_match(violations, &format!("{field}.method"), method);
        }
    }
    filters(violations, field, &rule.filters);
    for (index, backend) in rule.backend_refs.iter().enumerate() {
        let field = format!("{field}.backendRefs[{index}]");
        violations.name(&format!("{field}.name"), &backend.name);
        violations.weight(&field, backend.weight);
        service_port(
            violations,
            &field,
            &backend.group,
            &backend.kind,
            backend.port,
        );
        filters(violations, &field, &backend.filters);
    }
    if let Some(persistence) = &rule.session_persistence {
        session(
            violations,
            &format!("{field}.sessionPersistence"),
            persistence,
        );
    }
}

fn method_match(violations: &mut Violations, field: &str, item: &GrpcMethodMatch) {
    let (service, method) = (item.service.as_deref(), item.method.as_deref());
    let any = service.is_some() || method.is_some();
    violations.require(any, field, "it needs a service, a method or both");
    for (name, text) in [("service", service), ("method", method)] {
        let Some(text) = text else { continue };
        let at = format!("{field}.{name}");
        violations.require(text.len() <= 1024, &at, "it has at most 1024 characters");
        if item.type_ == "Exact" && !is_name(text, name == "service") {
            let message = format!(
                "{text:?} is no {name} of gRPC: letters, digits and _{}",
                match name {
                    "service" => ", with dots between the parts",
                    _ => "",
                }
            );
            violations.add(at, message);
        }
    }
}

/// A name of gRPC; that of a service has parts with dots between them, and may begin with one.
fn is_name(text: &str, dotted: bool) -> bool {
    let part = |part: &str| {
        let mut bytes = part.bytes();
        let first = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if dotted {
        text.strip_prefix('.').unwrap_or(text).split('.').all(part)
    } else {
        part(text)
    }
}

fn filters(violations: &mut Violations, field: &str, filters: &[GrpcRouteFilter]) {
    violations.length(&format!("{field}.filters"), filters, 0, 16);
    let mut once = BTreeSet::new();
    for (index, filter) in filters.iter().enumerate() {
        let path = format!("{field}.filters[{index}]");
        let type_ = filter.type_.as_str();
        let may_repeat = matches!(type_, "RequestMirror" | "ExtensionRef");
        let message = format!("filter {type_} can stand here once only; join the two");
        violations.require(may_repeat || once.insert(type_), &path, &message);
        let (request, response) = (
            &filter.request_header_modifier,
            &filter.response_header_modifier,
        );
        let fields = [
            (
                "RequestHeaderModifier",
                "requestHeaderModifier",
                request.is_some(),
            ),
            (
                "ResponseHeaderModifier",
                "responseHeaderModifier",
                response.is_some(),
            ),
            (
                "RequestMirror",
                "requestMirror",
                filter.request_mirror.is_some(),
            ),
            (
                "ExtensionRef",
                "extensionRef",
                filter.extension_ref.is_some(),
            ),
        ];
        violations.one_of_type(&path, type_, &fields);
        for (name, edits) in [
            ("requestHeaderModifier", request),
            ("responseHeaderModifier", response),
        ] {
            if let Some(edits) = edits {
                header_filter(violations, &format!("{path}.{name}"), edits);
            }
        }
        if let Some(mirror) = &filter.request_mirror {
            mirror_filter(violations, &format!("{path}.requestMirror"), mirror);
        }
    }
}

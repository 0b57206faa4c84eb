//! Rules of TLSRoutes, TCPRoutes and UDPRoutes.

use std::collections::BTreeSet;

use super::Violations;
use super::http_route::{parent_refs, service_port};
use crate::api::l4_route::{L4RouteRule, PortRouteSpec, TlsRouteSpec};
use crate::read::InvalidField;

pub(crate) fn tls_route(spec: &TlsRouteSpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    violations.length("spec.parentRefs", &spec.parent_refs, 0, 32);
    parent_refs(&mut violations, &spec.parent_refs);
    violations.length("spec.hostnames", &spec.hostnames, 1, 1024);
    for (index, hostname) in spec.hostnames.iter().enumerate() {
        violations.hostname(&format!("spec.hostnames[{index}]"), hostname);
    }
    rules(&mut violations, &spec.rules);
    violations.0
}

/// TCPRoutes and UDPRoutes.
pub(crate) fn port_route(spec: &PortRouteSpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    violations.length("spec.parentRefs", &spec.parent_refs, 0, 32);
    parent_refs(&mut violations, &spec.parent_refs);
    rules(&mut violations, &spec.rules);
    violations.0
}

fn rules(violations: &mut Violations, rules: &[L4RouteRule]) {
    violations.length("spec.rules", rules, 1, 1);
    let mut names = BTreeSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        violations.rule_name(&field, rule.name.as_deref(), &mut names);
        let field = format!("{field}.backendRefs");
        violations.length(&field, &rule.backend_refs, 1, 16);
        for (index, backend) in rule.backend_refs.iter().enumerate() {
            let field = format!("{field}[{index}]");
            violations.name(&format!("{field}.name"), &backend.name);
            violations.weight(&field, backend.weight);
            let (group, kind) = (&backend.group, &backend.kind);
            service_port(violations, &field, group, kind, backend.port);
        }
    }
}

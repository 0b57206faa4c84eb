//! The rule of a TLSRoute, TCPRoute or UDPRoute: where connections or flows go.

use tidegate_ir::{L4Choice, Target};

use super::Findings;
use super::backend_ref::References;
use crate::api::l4_route::L4RouteRule;
use crate::codes;

/// The choices of a rule; one that can send nothing anywhere has one choice, a fault.
pub(super) fn choices(
    rule: &L4RouteRule,
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
) -> Vec<L4Choice> {
    let traffic = references.traffic();
    let backends = rule.backend_refs.iter().enumerate();
    let choices = backends.map(|(index, backend)| {
        let field = format!("rules[0].backendRefs[{index}]");
        let target = match references.resolve(&backend.target(), traffic, &field, findings) {
            Ok(backend) => Target::Backend(backend.part_name()),
            Err(problem) => Target::Fault(problem.into()),
        };
        L4Choice {
            weight: u32::try_from(backend.weight).expect("the rules of the kind bound it"),
            target,
        }
    });
    let choices: Vec<_> = choices.collect();
    if choices.iter().any(|choice| choice.weight > 0) {
        return choices;
    }
    let fate = traffic.fate(500);
    let message = format!("all backendRefs have weight 0, so {fate}; give one a weight");
    findings.report("rules[0]", &codes::ZERO_WEIGHTS, &message);
    vec![L4Choice {
        weight: 1,
        target: Target::Fault(format!("rules[0]: {message}").into()),
    }]
}

//! Rules of BackendPolicies, our own kind.

use super::Violations;
use super::policy_targets::{policy_targets, sections_are_distinct};
use crate::api::backend_policy::{BackendPolicySpec, Connections, LoadBalancing, PolicyEjection};
use crate::duration::parse_ms;
use crate::read::InvalidField;

const HOUR_MS: u64 = 3_600_000;

pub(crate) fn backend_policy(spec: &BackendPolicySpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    policy_targets(&mut violations, &spec.target_refs);
    sections_are_distinct(&mut violations, &spec.target_refs);
    if let Some(own) = &spec.load_balancing {
        load_balancing(&mut violations, own);
    }
    if let Some(own) = &spec.connections {
        connections(&mut violations, own);
    }
    if let Some(own) = &spec.ejection {
        ejection(&mut violations, own);
    }
    violations.0
}

fn load_balancing(violations: &mut Violations, own: &LoadBalancing) {
    let field = "spec.loadBalancing";
    let known = matches!(
        own.type_.as_str(),
        "RoundRobin" | "LeastRequest" | "RingHash"
    );
    let message = "it must be RoundRobin, LeastRequest or RingHash";
    violations.require(known, &format!("{field}.type"), message);
    let Some(hash_on) = &own.hash_on else {
        return;
    };
    let field = format!("{field}.hashOn");
    let message = "only RingHash hashes; remove it";
    violations.require(own.type_ == "RingHash", &field, message);
    match hash_on.type_.as_str() {
        "ClientIP" => {
            let message = "ClientIP has no name; remove it";
            violations.require(hash_on.name.is_none(), &format!("{field}.name"), message);
        }
        "Header" | "Cookie" => {
            let name = hash_on.name.as_deref().unwrap_or_default();
            violations.name(&format!("{field}.name"), name);
        }
        _ => violations.add(
            format!("{field}.type"),
            "it must be ClientIP, Header or Cookie",
        ),
    }
}

fn connections(violations: &mut Violations, own: &Connections) {
    let bounds = [
        ("maxConnections", own.max_connections, 1),
        ("maxPendingRequests", own.max_pending_requests, 0),
        ("maxRequests", own.max_requests, 1),
    ];
    for (name, number, least) in bounds {
        let path = format!("spec.connections.{name}");
        count(violations, &path, number, least, 1_000_000);
    }
}

fn ejection(violations: &mut Violations, own: &PolicyEjection) {
    let bounds = [
        ("consecutiveErrors", own.consecutive_errors, 1, 1_000_000),
        ("maxEjectedPercent", own.max_ejected_percent, 0, 100),
        ("panicThresholdPercent", own.panic_threshold_percent, 0, 100),
    ];
    for (name, number, least, most) in bounds {
        count(
            violations,
            &format!("spec.ejection.{name}"),
            number,
            least,
            most,
        );
    }
    if let Some(base) = &own.base_ejection_time {
        let good = parse_ms(base).is_some_and(|ms| (1..=HOUR_MS).contains(&ms));
        let message = "it must be a duration above zero, and at most 1h";
        violations.require(good, "spec.ejection.baseEjectionTime", message);
    }
}

fn count(violations: &mut Violations, path: &str, number: Option<i64>, least: i64, most: i64) {
    let good = number.is_none_or(|number| (least..=most).contains(&number));
    violations.require(good, path, &format!("it must be {least} to {most}"));
}

//! Rules of policies on backends.

use std::collections::BTreeSet;

use super::Violations;
use super::http_route::token;
use super::session::session;
use crate::api::backend_policy::{BackendPolicySpec, LoadBalancing, PolicyEjection};
use crate::api::meta::PolicyTargetReference;
use crate::api::traffic_policy::TrafficPolicySpec;
use crate::read::InvalidField;

/// One hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

pub(crate) fn traffic_policy(spec: &TrafficPolicySpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    targets(&mut violations, &spec.target_refs, false);
    let constraint = spec.retry_constraint.as_ref();
    if let Some(budget) = constraint.and_then(|constraint| constraint.budget.as_ref()) {
        let field = "spec.retryConstraint.budget";
        violations.number(&format!("{field}.percent"), budget.percent, 0, 100);
        let interval = budget.interval.as_deref();
        violations.duration_within(&format!("{field}.interval"), interval, 1_000, HOUR_MS);
    }
    if let Some(rate) = constraint.and_then(|constraint| constraint.min_retry_rate.as_ref()) {
        let field = "spec.retryConstraint.minRetryRate";
        violations.number(&format!("{field}.count"), rate.count, 1, 1_000_000);
        let interval = rate.interval.as_deref();
        violations.duration_within(&format!("{field}.interval"), interval, 1, HOUR_MS);
    }
    if let Some(persistence) = &spec.session_persistence {
        session(&mut violations, "spec.sessionPersistence", persistence);
    }
    violations.0
}

pub(crate) fn backend_policy(spec: &BackendPolicySpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    targets(&mut violations, &spec.target_refs, true);
    if let Some(balancing) = &spec.load_balancing {
        load_balancing(&mut violations, balancing);
    }
    if let Some(bounds) = &spec.connections {
        let most = i64::from(u32::MAX);
        let field = "spec.connections";
        let (open, flying) = (bounds.max_connections, bounds.max_requests);
        violations.number(&format!("{field}.maxConnections"), open, 1, most);
        let waiting = bounds.max_pending_requests;
        violations.number(&format!("{field}.maxPendingRequests"), waiting, 0, most);
        violations.number(&format!("{field}.maxRequests"), flying, 1, most);
    }
    if let Some(own) = &spec.ejection {
        ejection(&mut violations, own);
    }
    if let Some(version) = spec.proxy_protocol.as_deref() {
        let known = matches!(version, "V1" | "V2");
        violations.require(known, "spec.proxyProtocol", "it must be V1 or V2");
    }
    violations.0
}

fn load_balancing(violations: &mut Violations, balancing: &LoadBalancing) {
    let field = "spec.loadBalancing";
    let type_ = balancing.type_.as_str();
    let known = matches!(type_, "RoundRobin" | "LeastRequest" | "RingHash");
    let message = "it must be RoundRobin, LeastRequest or RingHash";
    violations.require(known, &format!("{field}.type"), message);
    let Some(hashed) = &balancing.hash_on else {
        return;
    };
    let field = format!("{field}.hashOn");
    violations.require(
        type_ == "RingHash",
        &field,
        "only RingHash hashes; remove it",
    );
    let known = matches!(hashed.type_.as_str(), "ClientIP" | "Header" | "Cookie");
    let message = "it must be ClientIP, Header or Cookie";
    violations.require(known, &format!("{field}.type"), message);
    match (hashed.type_.as_str(), &hashed.name) {
        ("Header" | "Cookie", Some(name)) => token(violations, &format!("{field}.name"), name),
        ("Header" | "Cookie", None) => violations.add(field, "it needs a name"),
        (_, Some(_)) => violations.add(
            format!("{field}.name"),
            "a client's address has no name; remove it",
        ),
        (_, None) => {}
    }
}

fn ejection(violations: &mut Violations, ejection: &PolicyEjection) {
    let field = "spec.ejection";
    let errors = ejection.consecutive_errors;
    violations.number(&format!("{field}.consecutiveErrors"), errors, 1, 1_000);
    if let Some(time) = &ejection.base_ejection_time {
        let path = format!("{field}.baseEjectionTime");
        let ms = violations.duration(&path, time);
        violations.require(
            ms != Some(0),
            &path,
            "an ejection of no time is none; use disabled",
        );
    }
    let share = ejection.max_ejected_percent;
    violations.number(&format!("{field}.maxEjectedPercent"), share, 0, 100);
    let share = ejection.panic_threshold_percent;
    violations.number(&format!("{field}.panicThresholdPercent"), share, 0, 100);
}

/// What a policy is for: each thing once; by sections where they can be named.
pub(super) fn targets(
    violations: &mut Violations,
    targets: &[PolicyTargetReference],
    sections: bool,
) {
    violations.length("spec.targetRefs", targets, 1, 16);
    let mut known = BTreeSet::new();
    for (index, target) in targets.iter().enumerate() {
        let field = format!("spec.targetRefs[{index}]");
        violations.name(&format!("{field}.name"), &target.name);
        violations.name(&format!("{field}.kind"), &target.kind);
        let section = target.section_name.as_deref();
        if let Some(section) = section {
            let path = format!("{field}.sectionName");
            violations.require(
                sections,
                &path,
                "this policy is for a whole backend; remove it",
            );
            violations.section_name(&path, section);
        }
        let object = (&target.group, &target.kind, &target.name);
        let twins = targets
            .iter()
            .filter(|t| (&t.group, &t.kind, &t.name) == object);
        let told_apart = twins.clone().count() == 1 || section.is_some();
        let message =
            "another targetRef names the same object; give both a sectionName, and different ones";
        let is_new = known.insert((object, section));
        violations.require(told_apart && is_new, &field, message);
    }
}

//! Rules of XBackendTrafficPolicies.

use super::Violations;
use super::policy_targets::{objects_are_distinct, policy_targets};
use super::session::session;
use crate::api::traffic_policy::TrafficPolicySpec;
use crate::duration::parse_ms;
use crate::read::InvalidField;

const HOUR_MS: u64 = 3_600_000;

pub(crate) fn traffic_policy(spec: &TrafficPolicySpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    policy_targets(&mut violations, &spec.target_refs);
    objects_are_distinct(&mut violations, &spec.target_refs);
    if let Some(own) = &spec.session_persistence {
        session(&mut violations, "spec.sessionPersistence", own);
    }
    let constraint = spec.retry_constraint.as_ref();
    if let Some(budget) = constraint.and_then(|constraint| constraint.budget.as_ref()) {
        let field = "spec.retryConstraint.budget";
        let share = budget.percent.unwrap_or(20);
        let good = (0..=100).contains(&share);
        violations.require(good, &format!("{field}.percent"), "it must be 0 to 100");
        let message = "it must be a duration from 1s to 1h";
        interval(
            &mut violations,
            field,
            budget.interval.as_deref(),
            1_000,
            message,
        );
    }
    if let Some(rate) = constraint.and_then(|constraint| constraint.min_retry_rate.as_ref()) {
        let field = "spec.retryConstraint.minRetryRate";
        let good = (1..=1_000_000).contains(&rate.count.unwrap_or(1));
        violations.require(good, &format!("{field}.count"), "it must be 1 to 1000000");
        let message = "it must be a duration above zero, and at most 1h";
        interval(&mut violations, field, rate.interval.as_deref(), 1, message);
    }
    violations.0
}

fn interval(
    violations: &mut Violations,
    field: &str,
    text: Option<&str>,
    least_ms: u64,
    message: &str,
) {
    let good = |text| parse_ms(text).is_some_and(|ms| (least_ms..=HOUR_MS).contains(&ms));
    let path = format!("{field}.interval");
    violations.require(text.is_none_or(good), &path, message);
}

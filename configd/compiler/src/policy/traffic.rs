//! XBackendTrafficPolicy: budgets for retries (GEP-3388).

use tidegate_ir::RetryBudget;

use crate::api::traffic_policy::TrafficPolicySpec;
use crate::duration::parse_ms;

/// The budget that a policy sets; what it leaves open is as the schema has it.
pub(crate) fn retry_budget(spec: &TrafficPolicySpec) -> Option<RetryBudget> {
    let constraint = spec.retry_constraint.as_ref()?;
    let budget = constraint.budget.as_ref();
    let rate = constraint.min_retry_rate.as_ref();
    let percent = budget.and_then(|budget| budget.percent).unwrap_or(20);
    let count = rate.and_then(|rate| rate.count).unwrap_or(10);
    let ms = |text: Option<&String>, default: u64| {
        let ms = text.and_then(|text| parse_ms(text)).unwrap_or(default);
        ms.max(1)
    };
    Some(RetryBudget {
        percent: u8::try_from(percent.clamp(0, 100)).unwrap_or(100),
        interval_ms: ms(budget.and_then(|budget| budget.interval.as_ref()), 10_000),
        min_retries: u32::try_from(count.max(0)).unwrap_or(u32::MAX),
        min_interval_ms: ms(rate.and_then(|rate| rate.interval.as_ref()), 1_000),
    })
}

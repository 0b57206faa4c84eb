//! How many workers there are, and how many must stay.

use serde_json::{Value, json};

use super::{Pool, without_nulls};

/// Percent of the requested CPU at which workers are added, where nothing else is said.
const CPU_UTILIZATION: u32 = 70;

/// One worker at a time may be taken away by those who drain nodes.
pub(super) fn disruption_budget(pool: &Pool) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": pool.metadata(),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": pool.selector()},
        },
    })
}

/// The autoscaler, where one is asked for.
pub(super) fn autoscaler(pool: &Pool) -> Option<Value> {
    let wanted = pool.parameters.autoscaling.as_ref()?;
    let cpu = wanted.cpu_utilization;
    let cpu = cpu.or_else(|| wanted.metrics.is_empty().then_some(CPU_UTILIZATION));
    let cpu = cpu.map(|percent| {
        json!({
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": percent},
            },
        })
    });
    let metrics: Vec<Value> = cpu.into_iter().chain(wanted.metrics.clone()).collect();
    let name = pool.name();
    Some(without_nulls(json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": pool.metadata(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": wanted.min_replicas,
            "maxReplicas": wanted.max_replicas,
            "metrics": metrics,
            "behavior": wanted.behavior,
        },
    })))
}

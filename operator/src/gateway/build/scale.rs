//! How many workers there are, and how many must stay.

use serde_json::{Value, json};

use super::{Pool, without_nulls};

/// Percent of the requested CPU at which workers are added, where nothing else is said.
const CPU_UTILIZATION: u32 = 70;

/// The worker's gauge of requests that it answers now.
const REQUESTS_IN_FLIGHT: &str = "http_server_active_requests";

/// One worker at a time may be taken away by those who drain nodes.
pub(super) fn disruption_budget(pool: &Pool) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": pool.metadata.json(),
        "spec": {
            "maxUnavailable": 1,
            // One that does not get ready keeps nobody from draining its node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": pool.metadata.selector},
        },
    })
}

/// The autoscaler, where one is asked for.
pub(super) fn autoscaler(pool: &Pool) -> Option<Value> {
    let wanted = pool.parameters.autoscaling.as_ref()?;
    let cpu = wanted.cpu_utilization;
    let says_nothing = wanted.metrics.is_empty() && wanted.requests_in_flight.is_none();
    let cpu = cpu.or_else(|| says_nothing.then_some(CPU_UTILIZATION));
    let cpu = cpu.map(|percent| {
        json!({
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": percent},
            },
        })
    });
    let requests = wanted.requests_in_flight.map(|requests| {
        json!({
            "type": "Pods",
            "pods": {
                "metric": {"name": REQUESTS_IN_FLIGHT},
                "target": {"type": "AverageValue", "averageValue": requests.to_string()},
            },
        })
    });
    let metrics = cpu
        .into_iter()
        .chain(requests)
        .chain(wanted.metrics.clone());
    let metrics: Vec<Value> = metrics.collect();
    let name = &pool.metadata.name;
    Some(without_nulls(json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": pool.metadata.json(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": wanted.min_replicas,
            "maxReplicas": wanted.max_replicas,
            "metrics": metrics,
            "behavior": wanted.behavior,
        },
    })))
}

//! `GatewayParameters.spec.workers`: what the workers of a Gateway are like.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// `spec.workers`; what it leaves open is up to that of the GatewayClass, then to the operator.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WorkerParameters {
    /// Workers, where they are not scaled.
    pub(super) replicas: Option<u32>,
    pub(super) autoscaling: Option<Autoscaling>,
    /// In place of the operator's own.
    pub(super) image: Option<String>,
    /// Data threads of each; by default one per core.
    pub(super) threads: Option<u32>,
    /// As in a container.
    pub(super) resources: Option<Value>,
    pub(super) service: ServiceParameters,
    pub(super) pod: PodParameters,
    pub(super) drain: DrainParameters,
    pub(super) telemetry: TelemetryParameters,
    /// Whether a NetworkPolicy lets in what the listeners need, and nothing else.
    pub(super) network_policy: Option<bool>,
    /// Whether Gateways share workers, which configd decides.
    #[serde(rename = "sharing")]
    pub(super) _sharing: IgnoredAny,
    /// Changes of what is generated, in their order; those of the class come first.
    pub(super) patches: Vec<PatchParameters>,
}

/// How workers are scaled.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Autoscaling {
    #[serde(default = "one")]
    pub(super) min_replicas: u32,
    pub(super) max_replicas: u32,
    /// Percent of the requested CPU; 70 where nothing else is given.
    pub(super) cpu_utilization: Option<u32>,
    /// Of each worker; needs an adapter that serves the workers' metrics to autoscalers.
    pub(super) requests_in_flight: Option<u32>,
    /// As in a HorizontalPodAutoscaler.
    #[serde(default)]
    pub(super) metrics: Vec<Value>,
    /// As in a HorizontalPodAutoscaler.
    pub(super) behavior: Option<Value>,
}

fn one() -> u32 {
    1
}

/// The Service in front of the workers; fields as in a Service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ServiceParameters {
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
    pub(super) external_traffic_policy: Option<String>,
    pub(super) load_balancer_class: Option<String>,
    pub(super) load_balancer_source_ranges: Vec<String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// The Pods of the workers; fields as in a Pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct PodParameters {
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) node_selector: BTreeMap<String, String>,
    pub(super) tolerations: Vec<Value>,
    pub(super) affinity: Option<Value>,
    pub(super) topology_spread_constraints: Option<Vec<Value>>,
    pub(super) priority_class_name: Option<String>,
    pub(super) image_pull_secrets: Vec<Value>,
}

/// How workers go.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct DrainParameters {
    /// Between not being ready and not accepting connections.
    pub(super) delay_seconds: Option<u32>,
    /// That open requests get to end.
    pub(super) deadline_seconds: Option<u32>,
}

/// What workers tell of themselves.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TelemetryParameters {
    /// Whether each request is a line of the log.
    pub(super) access_log: Option<bool>,
    /// Such as `info` or `info,tidegate_worker=debug`.
    pub(super) log_filter: Option<String>,
    /// Where traces go, by OTLP over gRPC.
    pub(super) traces_endpoint: Option<String>,
}

/// A change of something that is generated.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PatchParameters {
    /// Of which kind it is.
    pub(super) kind: String,
    /// A JSON merge patch (RFC 7396).
    pub(super) merge: Value,
}

/// The parameters of a Gateway: field by field the first word counts, its own, then that of its class.
///
/// # Errors
/// With one sentence, where a field is unknown or of another type.
pub(super) fn read(
    own: Option<&Value>,
    of_class: Option<&Value>,
) -> Result<WorkerParameters, String> {
    let mut patches = vec![];
    let mut merged = Value::Object(Map::new());
    for spec in [of_class, own].into_iter().flatten() {
        let workers = &spec["workers"];
        if let Some(own) = workers["patches"].as_array() {
            patches.extend(own.iter().cloned());
        }
        overlay(&mut merged, workers);
    }
    if !patches.is_empty() {
        merged["patches"] = Value::Array(patches);
    }
    WorkerParameters::deserialize(&merged)
        .map_err(|error| format!("spec.workers of the GatewayParameters: {error}"))
}

/// Puts fields over those that are there; lists replace lists.
fn overlay(below: &mut Value, over: &Value) {
    match (below, over) {
        (Value::Object(below), Value::Object(over)) => {
            for (field, value) in over {
                overlay(below.entry(field.clone()).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (below, over) => *below = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_word_counts_field_by_field() {
        let class = json!({"workers": {
            "replicas": 3, "drain": {"delaySeconds": 1, "deadlineSeconds": 60},
            "patches": [{"kind": "Service", "merge": {}}],
        }});
        let own = json!({"workers": {
            "replicas": 2, "drain": {"delaySeconds": 7},
            "patches": [{"kind": "Deployment", "merge": {}}],
        }});
        let read = read(Some(&own), Some(&class)).expect("they are valid");
        assert_eq!(read.replicas, Some(2));
        assert_eq!(read.drain.delay_seconds, Some(7));
        assert_eq!(read.drain.deadline_seconds, Some(60));
        let kinds: Vec<_> = read.patches.iter().map(|patch| &patch.kind).collect();
        assert_eq!(kinds, ["Service", "Deployment"]);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = read(Some(&json!({"workers": {"replica": 1}})), None);
        let error = error.expect_err("there is no such field");
        assert!(error.contains("replica"), "{error}");
        let none = read(None, Some(&json!({"limits": {}}))).expect("it says nothing of workers");
        assert_eq!(none, WorkerParameters::default());
    }
}

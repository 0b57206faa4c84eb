//! Golden files: the objects of a pool, as YAML. `UPDATE_GOLDEN=1` writes them anew.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::gateway::parameters;

fn pool(parameters: &Value) -> Pool {
    Pool {
        namespace: "infra".to_owned(),
        gateway: "web".to_owned(),
        uid: "7d3c1a52-0000-4000-8000-000000000001".to_owned(),
        api_version: "gateway.networking.k8s.io/v1".to_owned(),
        class: "tidegate".to_owned(),
        ports: BTreeSet::from([
            (80, Transport::Tcp),
            (443, Transport::Tcp),
            (53, Transport::Udp),
        ]),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        asked_address: None,
        parameters: parameters::read(Some(parameters), None).expect("they are valid"),
        identity: Some(WorkerIdentity::of_texts("certificate", "key", "authority")),
        image: "tidegate.dev/tidegate:0.1.0".to_owned(),
        configd: "https://configd:15010".to_owned(),
    }
}

fn check(name: &str, pool: &Pool) {
    let objects = build(pool);
    let documents = objects.iter().map(|object| {
        let text = serde_saphyr::to_string(object).expect("it can be written");
        format!("---\n{}\n", text.trim_end())
    });
    let actual: String = documents.collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.yaml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &actual).expect("the file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    similar_asserts::assert_eq!(expected, actual, "{}", path.display());
}

#[test]
fn a_gateway_has_workers_a_service_and_what_belongs_to_them() {
    check("plain", &pool(&json!({})));
}

#[test]
fn infrastructure_is_copied_to_everything() {
    let mut pool = pool(&json!({}));
    pool.labels = BTreeMap::from([("team".to_owned(), "edge".to_owned())]);
    pool.annotations = BTreeMap::from([("example.com/cost".to_owned(), "42".to_owned())]);
    pool.asked_address = Some("192.0.2.10".to_owned());
    pool.identity = None;
    check("infrastructure", &pool);
    // A label of the Gateway cannot take the Pods out of the Service.
    let name = "app.kubernetes.io/name".to_owned();
    pool.labels = BTreeMap::from([(name, "other".to_owned())]);
    let labels = pool.all_labels();
    assert_eq!(labels["app.kubernetes.io/name"], "tidegate-worker");
}

#[test]
fn parameters_change_what_is_built() {
    let parameters = json!({"workers": {
        "autoscaling": {"minReplicas": 2, "maxReplicas": 9, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}}},
        "image": "registry.example/tidegate:1",
        "threads": 4,
        "resources": {"requests": {"cpu": "1", "memory": "256Mi"}},
        "service": {
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerClass": "example.com/lb",
            "loadBalancerSourceRanges": ["192.0.2.0/24"], "annotations": {"example.com/kind": "internal"},
        },
        "pod": {
            "annotations": {"example.com/scrape": "true"}, "nodeSelector": {"pool": "edge"},
            "tolerations": [{"key": "edge", "operator": "Exists"}], "topologySpreadConstraints": [],
            "priorityClassName": "high", "imagePullSecrets": [{"name": "pull"}],
        },
        "drain": {"delaySeconds": 10, "deadlineSeconds": 120},
        "networkPolicy": false,
        "patches": [
            {"kind": "Deployment", "merge": {"spec": {"minReadySeconds": 5}}},
            {"kind": "Service", "merge": {"spec": {"ipFamilyPolicy": "PreferDualStack"}}},
        ],
    }});
    check("parameters", &pool(&parameters));
}

#[test]
fn a_gateway_without_ports_has_no_service() {
    let mut pool = pool(&json!({}));
    pool.ports.clear();
    let objects = build(&pool);
    assert!(objects.iter().all(|object| object["kind"] != "Service"));
}

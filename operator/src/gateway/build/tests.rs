//! Golden files: the objects of a pool, as YAML. `UPDATE_GOLDEN=1` writes them anew.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::gateway::parameters;

/// A Gateway's own workers and Service.
fn parts(parameters: &Value) -> (Pool, Front) {
    let metadata = Metadata {
        namespace: "infra".to_owned(),
        name: "web-tidegate".to_owned(),
        class: "tidegate".to_owned(),
        owners: vec![owner("web", 1)],
        selector: metadata::of_gateway("web"),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    };
    let parameters = parameters::read(Some(parameters), None).expect("they are valid");
    let ports = [
        (80, Transport::Tcp),
        (443, Transport::Tcp),
        (53, Transport::Udp),
    ];
    let front = Front {
        pods: metadata.selector.clone(),
        metadata: metadata.clone(),
        ports: ports.into_iter().map(|port| (port, port.0)).collect(),
        asked_address: None,
        last_parameters: None,
        parameters: parameters.clone(),
    };
    let pool = Pool {
        metadata,
        id: "infra/web".to_owned(),
        ports: BTreeSet::from(ports),
        parameters,
        identity: Some(WorkerIdentity::of_texts("certificate", "key", "authority")),
        image: "tidegate.dev/tidegate:0.1.0".to_owned(),
        configd: "https://configd:15010".to_owned(),
    };
    (pool, front)
}

fn owner(name: &str, number: u8) -> Owner {
    Owner {
        api_version: "gateway.networking.k8s.io/v1".to_owned(),
        name: name.to_owned(),
        uid: format!("7d3c1a52-0000-4000-8000-{number:012}"),
    }
}

fn check(name: &str, objects: &[Value]) {
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

fn built((pool, front): &(Pool, Front)) -> Vec<Value> {
    [workers(pool), super::front(front)].concat()
}

#[test]
fn a_gateway_has_workers_a_service_and_what_belongs_to_them() {
    check("plain", &built(&parts(&json!({}))));
}

#[test]
fn infrastructure_is_copied_to_everything() {
    let (mut pool, mut front) = parts(&json!({}));
    for metadata in [&mut pool.metadata, &mut front.metadata] {
        metadata.labels = BTreeMap::from([("team".to_owned(), "edge".to_owned())]);
        metadata.annotations = BTreeMap::from([("example.com/cost".to_owned(), "42".to_owned())]);
    }
    front.asked_address = Some("192.0.2.10".to_owned());
    pool.identity = None;
    let mut metadata = pool.metadata.clone();
    check("infrastructure", &built(&(pool, front)));
    // A label of the Gateway cannot take the Pods out of the Service.
    let name = "app.kubernetes.io/name".to_owned();
    metadata.labels = BTreeMap::from([(name.clone(), "other".to_owned())]);
    assert_eq!(metadata.all_labels()[&name], "tidegate-worker");
}

#[test]
fn parameters_change_what_is_built() {
    let parameters = json!({"workers": {
        "autoscaling": {"minReplicas": 2, "maxReplicas": 9, "cpuUtilization": 60, "requestsInFlight": 500, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}}},
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
        "telemetry": {"accessLog": false, "logFilter": "warn", "tracesEndpoint": "http://collector:4317"},
        "networkPolicy": false,
        "patches": [
            {"kind": "Deployment", "merge": {"spec": {"minReadySeconds": 5}}},
            {"kind": "Service", "merge": {"spec": {"ipFamilyPolicy": "PreferDualStack"}}},
        ],
    }});
    check("parameters", &built(&parts(&parameters)));
}

#[test]
fn a_gateway_without_ports_has_no_service() {
    let (_, mut front) = parts(&json!({}));
    front.ports.clear();
    assert!(super::front(&front).is_empty());
}

#[test]
fn gateways_that_share_workers_own_them_together_and_have_a_service_each() {
    let (mut pool, mut front) = parts(&json!({}));
    pool.metadata.name = crate::gateway::names::of_shared_pool("tidegate");
    pool.metadata.selector = metadata::of_shared_pool("tidegate");
    pool.metadata.owners.push(owner("api", 2));
    pool.id = "infra/shared_tidegate".to_owned();
    pool.ports = BTreeSet::from([(12_345, Transport::Tcp), (23_456, Transport::Udp)]);
    front.pods = metadata::of_shared_pool("tidegate");
    front.ports = BTreeMap::from([
        ((80, Transport::Tcp), 12_345),
        ((53, Transport::Udp), 23_456),
    ]);
    check("shared", &built(&(pool, front)));
}

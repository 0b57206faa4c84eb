//! The objects of a measurement: one Gateway, one Service, and a route for each host.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyRequest, Object, ObjectKey, Operation, operation};
use tonic::transport::Channel;

/// Objects of one batch.
const BATCH: usize = 2_000;

const NAMESPACE: &str = "bench";

/// Everything but the routes.
pub(crate) fn base(port: u16, backend: SocketAddr) -> Vec<Value> {
    let listener = json!({"name": "http", "port": port, "protocol": "HTTP"});
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "backend", "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": "backend"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": backend.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [backend.ip().to_string()], "conditions": {"ready": true}}],
    });
    vec![
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "tidegate"},
            "spec": {"controllerName": "tidegate.dev/gateway-controller"},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "bench", "namespace": NAMESPACE},
            "spec": {"gatewayClassName": "tidegate", "listeners": [listener]},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "backend", "namespace": NAMESPACE},
            "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        }),
        slice,
    ]
}

/// Many routes, spread over hosts; those of one host differ by their paths.
pub(crate) fn spread(routes: usize, hosts: usize) -> impl Iterator<Item = Value> {
    (0..routes).map(move |index| {
        let mut route = route(&spread_host(index, hosts));
        route["metadata"]["name"] = json!(format!("route-{index}"));
        let path = json!({"path": {"value": spread_path((routes - 1 - index) / hosts.max(1))}});
        route["spec"]["rules"][0]["matches"] = json!([path]);
        route
    })
}

/// The host of one of many routes.
pub(crate) fn spread_host(index: usize, hosts: usize) -> String {
    format!("host-{}.bench.test", index % hosts.max(1))
}

/// The path of one of many routes; requests for `/` find the last one of each host.
fn spread_path(turn: usize) -> String {
    match turn {
        0 => "/".to_owned(),
        turn => format!("/section-{turn}"),
    }
}

/// A route for one host.
pub(crate) fn route(host: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": host, "namespace": NAMESPACE},
        "spec": {
            "parentRefs": [{"name": "bench"}],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": "backend", "port": 80}]}],
        },
    })
}

/// Applies objects in batches.
pub(crate) async fn apply(channel: &Channel, objects: &[Value]) -> anyhow::Result<()> {
    let mut client = ObjectServiceClient::new(channel.clone());
    for batch in objects.chunks(BATCH) {
        let operations = batch.iter().map(put).collect();
        let request = ApplyRequest {
            source: "bench".to_owned(),
            operations,
            reason: "measurement".to_owned(),
            ..ApplyRequest::default()
        };
        client.apply(request).await?;
    }
    Ok(())
}

/// The object's name: group, kind, namespace and name, empty where there is none.
pub(crate) fn key(object: &Value) -> ObjectKey {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let group = text("/apiVersion")
        .rsplit_once('/')
        .map_or("", |(group, _)| group);
    ObjectKey {
        source: "bench".to_owned(),
        group: group.to_owned(),
        kind: text("/kind").to_owned(),
        namespace: text("/metadata/namespace").to_owned(),
        name: text("/metadata/name").to_owned(),
    }
}

fn put(object: &Value) -> Operation {
    let key = key(object);
    let object = Object {
        uid: key.name.chars().take(64).collect(),
        key: Some(key),
        generation: 1,
        created_at_unix_s: 1_700_000_000,
        content: object.to_string().into(),
    };
    Operation {
        operation: Some(operation::Operation::Put(object)),
        precondition: None,
    }
}

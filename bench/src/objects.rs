//! The objects of a measurement: one Gateway, its backends, and their routes.

use std::net::SocketAddr;

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyRequest, Object, ObjectKey, Operation, WaitFor, operation};
use tonic::transport::Channel;

use crate::certificates::Certificate;
use crate::peers::{Ports, Site};

/// Objects of one batch.
const BATCH: usize = 2_000;

/// Whom the objects are from.
pub(crate) const SOURCE: &str = "bench";

const NAMESPACE: &str = "bench";

/// A Gateway with one listener for HTTP, and its backend.
pub(crate) fn base(port: u16, backend: SocketAddr) -> Vec<Value> {
    let mut all = vec![
        class(),
        gateway(&json!([{"name": "http", "port": port, "protocol": "HTTP"}])),
    ];
    all.extend(service("backend", "TCP", None, backend));
    all
}

/// A Gateway that serves all kinds of work, with its backends and routes.
pub(crate) fn site(ports: Ports, site: Site<'_>) -> Vec<Value> {
    let (backends, certificates) = (site.backends, site.certificates);
    let listener = |name: &str, at: SocketAddr, protocol: &str| json!({"name": name, "port": at.port(), "protocol": protocol});
    let secure = |name: &str, at: SocketAddr, secret: &str| {
        let mut listener = listener(name, at, "HTTPS");
        listener["tls"] = json!({"certificateRefs": [{"name": secret}]});
        listener
    };
    let mut passthrough = listener("passthrough", ports.passthrough, "TLS");
    passthrough["tls"] = json!({"mode": "Passthrough"});
    let listeners = json!([
        listener("http", ports.http, "HTTP"),
        secure("https", ports.https, "ecdsa"),
        secure("https-rsa", ports.https_rsa, "rsa"),
        listener("grpc", ports.grpc, "HTTP"),
        listener("tcp", ports.tcp, "TCP"),
        listener("source", ports.source, "TCP"),
        passthrough,
        listener("udp", ports.udp, "UDP"),
    ]);
    let mut all = vec![
        class(),
        gateway(&listeners),
        secret("ecdsa", &certificates.ecdsa),
        secret("rsa", &certificates.rsa),
    ];
    let services = [
        ("backend", "TCP", None, backends.http),
        ("grpc", "TCP", Some("kubernetes.io/h2c"), backends.grpc),
        ("tcp", "TCP", None, backends.tcp),
        ("source", "TCP", None, backends.source),
        ("tls", "TCP", None, backends.tls),
        ("udp", "UDP", None, backends.udp),
    ];
    for (name, transport, protocol, at) in services {
        all.extend(service(name, transport, protocol, at));
    }
    let mut by_name = attached("TLSRoute", &["passthrough"], "tls");
    by_name["spec"]["hostnames"] = json!([crate::certificates::HOST]);
    all.extend([
        attached("HTTPRoute", &["http", "https", "https-rsa"], "backend"),
        attached("GRPCRoute", &["grpc"], "grpc"),
        attached("TCPRoute", &["tcp"], "tcp"),
        attached("TCPRoute", &["source"], "source"),
        by_name,
        attached("UDPRoute", &["udp"], "udp"),
    ]);
    all
}

fn class() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": "tidegate"},
        "spec": {"controllerName": "tidegate.dev/gateway-controller"},
    })
}

fn gateway(listeners: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "bench", "namespace": NAMESPACE},
        "spec": {
            "gatewayClassName": "tidegate", "listeners": listeners,
            "allowedListeners": {"namespaces": {"from": "Same"}},
        },
    })
}

fn secret(name: &str, certificate: &Certificate) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {
            "tls.crt": BASE64.encode(&certificate.chain),
            "tls.key": BASE64.encode(&certificate.key),
        },
    })
}

/// A Service with one port, 80, and its only address.
fn service(name: &str, transport: &str, protocol: Option<&str>, at: SocketAddr) -> [Value; 2] {
    let mut port = json!({"name": "main", "port": 80, "protocol": transport});
    if let Some(protocol) = protocol {
        port["appProtocol"] = json!(protocol);
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"ports": [port]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "main", "port": at.port(), "protocol": transport}],
        "endpoints": [{"addresses": [at.ip().to_string()], "conditions": {"ready": true}}],
    });
    [service, slice]
}

/// A route of any kind that takes all that comes to some listeners.
fn attached(kind: &str, sections: &[&str], backend: &str) -> Value {
    let parents = sections
        .iter()
        .map(|section| json!({"name": "bench", "sectionName": section}));
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind,
        "metadata": {"name": backend, "namespace": NAMESPACE},
        "spec": {
            "parentRefs": parents.collect::<Vec<_>>(),
            "rules": [{"backendRefs": [{"name": backend, "port": 80}]}],
        },
    })
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

/// A ListenerSet for each host, with one listener on that port.
pub(crate) fn listener_sets(port: u16, hosts: usize) -> impl Iterator<Item = Value> {
    (0..hosts).map(move |index| {
        let host = spread_host(index, hosts);
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
            "metadata": {"name": host, "namespace": NAMESPACE},
            "spec": {
                "parentRef": {"name": "bench"},
                "listeners": [{"name": "http", "port": port, "protocol": "HTTP", "hostname": host}],
            },
        })
    })
}

/// The same route, attached to the ListenerSet of its host.
pub(crate) fn in_listener_set(mut route: Value) -> Value {
    let host = route["spec"]["hostnames"][0].clone();
    let group = "gateway.networking.k8s.io";
    route["spec"]["parentRefs"] = json!([{"group": group, "kind": "ListenerSet", "name": host}]);
    route
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

/// Applies objects in batches, which are stored when this returns.
pub(crate) async fn apply(channel: &Channel, objects: &[Value]) -> anyhow::Result<()> {
    apply_and_wait(channel, objects, WaitFor::Unspecified).await
}

/// The same; snapshots and statuses contain them when this returns.
pub(crate) async fn apply_and_compile(channel: &Channel, objects: &[Value]) -> anyhow::Result<()> {
    apply_and_wait(channel, objects, WaitFor::Compiled).await
}

/// The same; every worker serves them, and their statuses say so, when this returns.
pub(crate) async fn apply_and_converge(channel: &Channel, objects: &[Value]) -> anyhow::Result<()> {
    apply_and_wait(channel, objects, WaitFor::Converged).await
}

async fn apply_and_wait(
    channel: &Channel,
    objects: &[Value],
    wait_for: WaitFor,
) -> anyhow::Result<()> {
    for batch in objects.chunks(BATCH) {
        send(channel, batch.iter().map(put).collect(), wait_for).await?;
    }
    Ok(())
}

/// Applies one batch.
pub(crate) async fn send(
    channel: &Channel,
    operations: Vec<Operation>,
    wait_for: WaitFor,
) -> anyhow::Result<()> {
    let request = ApplyRequest {
        source: SOURCE.to_owned(),
        operations,
        reason: "measurement".to_owned(),
        wait_for: wait_for.into(),
        wait_timeout_ms: 60_000,
        ..ApplyRequest::default()
    };
    let mut client = ObjectServiceClient::new(channel.clone());
    let answer = client.apply(request).await?.into_inner();
    ensure!(answer.pending.is_empty(), "{}", answer.pending);
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
        source: SOURCE.to_owned(),
        group: group.to_owned(),
        kind: text("/kind").to_owned(),
        namespace: text("/metadata/namespace").to_owned(),
        name: text("/metadata/name").to_owned(),
    }
}

fn put(object: &Value) -> Operation {
    put_of(key(object), object.to_string())
}

/// The operation that stores this content under this name.
pub(crate) fn put_of(key: ObjectKey, content: String) -> Operation {
    let object = Object {
        uid: key.name.chars().take(64).collect(),
        key: Some(key),
        generation: 1,
        created_at_unix_s: 1_700_000_000,
        content: content.into(),
    };
    Operation {
        operation: Some(operation::Operation::Put(object)),
        precondition: None,
    }
}

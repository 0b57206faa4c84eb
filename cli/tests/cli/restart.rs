//! What survives `kill -9`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::operation::Operation as Change;
use tidegate_proto::objects::v1::{ApplyRequest, ListObjectsRequest, Object, ObjectKey, Operation};
use tonic::transport::{Channel, Endpoint};

use super::client::{Client, get};
use super::process::{Process, Up, example, free_port};

const GROUP: &str = "gateway.networking.k8s.io";

fn configd(folder: &Path, port: u16) -> Process {
    let listen = format!("127.0.0.1:{port}");
    let folder = folder.to_str().unwrap();
    Process::start(&[
        "configd",
        "--data-dir",
        folder,
        "--listen",
        &listen,
        "--admin",
        "127.0.0.1:0",
        "--pool",
        "default",
    ])
}

async fn connect(port: u16) -> ObjectServiceClient<Channel> {
    for _ in 0..600 {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        if let Ok(channel) = endpoint.connect().await {
            return ObjectServiceClient::new(channel);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("configd never answered");
}

fn put(group: &str, kind: &str, namespace: &str, name: &str, more: serde_json::Value) -> Operation {
    let version = if group.is_empty() {
        "v1".to_owned()
    } else {
        format!("{group}/v1")
    };
    let mut content = more;
    content["apiVersion"] = version.into();
    content["kind"] = kind.into();
    content["metadata"]["name"] = name.into();
    if !namespace.is_empty() {
        content["metadata"]["namespace"] = namespace.into();
    }
    let key = ObjectKey {
        source: "test".to_owned(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let object = Object {
        key: Some(key),
        uid: format!("{kind}-{name}"),
        generation: 1,
        created_at_unix_s: 1,
        content: content.to_string().into(),
    };
    Operation {
        operation: Some(Change::Put(object)),
        precondition: None,
    }
}

fn apply(operations: Vec<Operation>) -> ApplyRequest {
    ApplyRequest {
        source: "test".to_owned(),
        operations,
        ..ApplyRequest::default()
    }
}

/// A number that each round of writes stores under a name of its own.
fn route(name: &str) -> Operation {
    let spec = json!({"spec": {"parentRefs": [{"name": "web"}], "hostnames": [format!("{name}.example.com")]}});
    put(GROUP, "HTTPRoute", "shop", name, spec)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_configd_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let port = free_port();
        let mut configd = configd(folder.path(), port);
        let mut client = connect(port).await;
        let writer = tokio::task::spawn_blocking({
            let runtime = tokio::runtime::Handle::current();
            let mut client = client.clone();
            move || {
                runtime.block_on(async move {
                    let mut written = Vec::new();
                    for index in 0..10_000 {
                        let name = format!("r{round}-{index}");
                        match client.apply(apply(vec![route(&name)])).await {
                            Ok(_) => written.push(name),
                            Err(_) => return written,
                        }
                    }
                    written
                })
            }
        });
        tokio::time::sleep(Duration::from_millis(700)).await;
        configd.kill();
        let written = writer.await.unwrap();
        assert!(written.len() > 3, "writes were under way: {written:?}");
        acknowledged.extend(written);
        let stopped = client.list_objects(ListObjectsRequest::default()).await;
        assert!(stopped.is_err(), "it is really gone");
    }
    let port = free_port();
    let _configd = configd(folder.path(), port);
    let mut client = connect(port).await;
    let request = ListObjectsRequest {
        page_size: 5_000,
        ..ListObjectsRequest::default()
    };
    let stored = client
        .list_objects(request)
        .await
        .unwrap()
        .into_inner()
        .objects;
    let names: std::collections::BTreeSet<_> = stored
        .into_iter()
        .filter_map(|stored| Some(stored.object?.key?.name))
        .collect();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|name| !names.contains(*name))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
}

fn gateway(port: u16, backend: u16) -> Vec<Operation> {
    vec![
        put(
            GROUP,
            "GatewayClass",
            "",
            "tidegate",
            json!({
                "spec": {"controllerName": "tidegate.dev/gateway-controller"},
            }),
        ),
        put(
            GROUP,
            "Gateway",
            "shop",
            "web",
            json!({"spec": {
                "gatewayClassName": "tidegate",
                "listeners": [{"name": "http", "port": port, "protocol": "HTTP"}],
            }}),
        ),
        put(
            GROUP,
            "HTTPRoute",
            "shop",
            "cart",
            json!({"spec": {
                "parentRefs": [{"name": "web"}],
                "rules": [{"backendRefs": [{"name": "cart", "port": 80}]}],
            }}),
        ),
        put(
            "",
            "Service",
            "shop",
            "cart",
            json!({"spec": {"ports": [{"port": 80}]}}),
        ),
        put(
            "discovery.k8s.io",
            "EndpointSlice",
            "shop",
            "cart-1",
            json!({
                "metadata": {"labels": {"kubernetes.io/service-name": "cart"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
                "ports": [{"name": "", "port": backend, "protocol": "TCP"}],
            }),
        ),
    ]
}

fn worker(folder: &Path, configd_port: u16) -> Process {
    let url = format!("http://127.0.0.1:{configd_port}");
    let folder = folder.to_str().unwrap();
    Process::start(&[
        "worker",
        "--configd",
        &url,
        "--bind",
        "127.0.0.1",
        "--admin",
        "127.0.0.1:0",
        "--data-dir",
        folder,
        "--threads",
        "1",
        "--name",
        "w1",
        "--drain-delay-s",
        "0",
    ])
}

/// Waits until a port answers with this status.
fn until_status(port: u16, status: u16) {
    for _ in 0..600 {
        let answer = Client::connect(port).and_then(|mut c| c.get("localhost", "/"));
        if answer.is_ok_and(|answer| answer.status == status) {
            return;
        }
        let (_quiet, silence) = std::sync::mpsc::sync_channel::<()>(0);
        let _ = silence.recv_timeout(Duration::from_millis(50));
    }
    panic!("port {port} never answered {status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_serves_its_last_good_snapshot_before_configd_is_up() {
    // The echo backends of a demo are a backend like any other.
    let backend = Up::start(&[&example("quickstart")], &[]);
    let folder = tempfile::tempdir().unwrap();
    let (api, port) = (free_port(), free_port());
    let store = folder.path().join("configd");
    let mut first = configd(&store, api);
    let mut client = connect(api).await;
    client
        .apply(apply(gateway(port, backend.port("http"))))
        .await
        .unwrap();
    let mut serving = worker(&folder.path().join("worker"), api);
    tokio::task::block_in_place(|| until_status(port, 200));
    // The snapshot is on the disk a moment after it is served.
    let file = folder.path().join("worker/last-good.snapshot");
    for _ in 0..200 {
        if fs::metadata(&file).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    first.kill();
    assert_eq!(
        get(port, "localhost", "/").status,
        200,
        "configd's end ends nothing"
    );
    serving.kill();

    let _serving = worker(&folder.path().join("worker"), api);
    tokio::task::block_in_place(|| until_status(port, 200));

    let _second = configd(&store, api);
    let mut client = connect(api).await;
    let none = put(
        GROUP,
        "HTTPRoute",
        "shop",
        "cart",
        json!({"spec": {
            "parentRefs": [{"name": "web"}],
            "hostnames": ["elsewhere.example.com"],
        }}),
    );
    client.apply(apply(vec![none])).await.unwrap();
    tokio::task::block_in_place(|| until_status(port, 404));
}

#[test]
fn a_data_directory_of_another_version_or_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let mut up = Up::start(&[&example("quickstart")], &["--data-dir", data]);
    let start_again = || {
        let output = super::process::run(&["up", "--data-dir", data]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let error = start_again();
    assert!(
        error.contains("is in use by another tidegate process"),
        "{error}"
    );
    up.process.kill();
    let identity = folder.path().join("configd/IDENTITY");
    let text = fs::read_to_string(&identity).unwrap();
    let later = text.lines().next().unwrap();
    let later = later.replace("\"format_version\":2", "\"format_version\":3");
    let checksum = crc32c::crc32c(later.as_bytes());
    fs::write(&identity, format!("{later}\ncrc32c {checksum:08x}\n")).unwrap();
    let error = start_again();
    assert!(
        error.contains("has format version 3, this tidegate reads version 2"),
        "{error}"
    );
}

#[test]
fn up_keeps_its_history_in_its_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let mut up = Up::start(&[&example("quickstart")], &["--data-dir", data]);
    let list = |folder: &str| {
        let output = super::process::run(&["snapshots", "list", "--data-dir", folder]);
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .skip(1)
            .count()
    };
    assert_eq!(list(data), 1);
    up.process.kill();
    let up = Up::start(&[&example("canary")], &["--data-dir", data]);
    assert_eq!(
        get(up.port("http"), "localhost", "/cart")
            .service()
            .split('-')
            .next(),
        Some("shop/cart")
    );
    assert!(list(data) >= 2);
}

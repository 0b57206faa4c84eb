//! A configd and a worker in this process, with a port for each of several backends.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_compiler::{Pooling, Settings};
use tidegate_configd::{Configd, ConfigdHandle, ConfigdOptions, Security};
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyRequest, Object, ObjectKey, Operation, operation};
use tidegate_runtime::drain::Drain;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tidegate_worker::{
    AccessLogTo, BindPolicy, Edge, Limits, PortPolicy, Worker, WorkerHandle, WorkerOptions,
};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

const CONTROLLER_NAME: &str = "tidegate.dev/gateway-controller";
const POOL: &str = "default";
/// Where all objects but the class are.
pub const NAMESPACE: &str = "edge";
/// The port of the first listener; the others follow. The system chooses those that are bound.
const FIRST_PORT: usize = 8000;
/// How long the worker may take to serve; far more than it takes on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running world; it ends with the value.
#[derive(Debug)]
pub struct World {
    /// Where the gateway listens for each backend, in their order.
    pub ports: Vec<SocketAddr>,
    drain: Drain,
    /// In the order in which they end.
    _worker: WorkerHandle,
    _configd: ConfigdHandle,
    runtime: Runtime,
    _data: TempDir,
}

impl World {
    /// Starts configd and a worker that serves each backend on a port of its own.
    ///
    /// # Errors
    /// When they do not come to serve.
    pub fn start(backends: &[SocketAddr], limits: Limits) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let data = tempfile::tempdir()?;
        let drain = Drain::new(Duration::ZERO);
        let starting = start(backends, limits, &data, &drain);
        let (configd, worker, ports) = runtime.block_on(Box::pin(starting))?;
        Ok(Self {
            ports,
            drain,
            _worker: worker,
            _configd: configd,
            runtime,
            _data: data,
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.drain.start("the tests end");
        self.drain.shut_down_now();
        self.runtime.block_on(self.drain.finish());
    }
}

async fn start(
    backends: &[SocketAddr],
    limits: Limits,
    data: &TempDir,
    drain: &Drain,
) -> anyhow::Result<(ConfigdHandle, WorkerHandle, Vec<SocketAddr>)> {
    let readiness = Readiness::new();
    let configd = Configd::start(ConfigdOptions {
        data_dir: data.path().to_owned(),
        settings: Settings {
            controller_name: CONTROLLER_NAME.to_owned(),
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
            pooling: Pooling::Single {
                pool: POOL.to_owned(),
            },
        },
        listen: None,
        security: Security::Plaintext,
        seal_keys: None,
        disk_reserve: None,
        highest_level: None,
        cluster: None,
        metrics: Metrics::new("tidegate", "configd", "test"),
        readiness: readiness.clone(),
    })
    .await?;
    let options = worker_options(configd.channel(), limits);
    let metrics = Metrics::new("tidegate", "worker", "test");
    let worker = Worker::start(options, &metrics, &readiness, drain).await?;
    let request = ApplyRequest {
        source: "edge".to_owned(),
        operations: objects(backends).iter().map(put).collect(),
        ..ApplyRequest::default()
    };
    ObjectServiceClient::new(configd.channel())
        .apply(request)
        .await?;
    let bound = async {
        while worker.listeners().len() < backends.len() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    if timeout(PATIENCE, bound).await.is_err() {
        bail!("the worker does not serve the {} ports", backends.len());
    }
    let mut ports = Vec::new();
    for index in 0..backends.len() {
        let listeners = worker.listeners();
        let mut named = listeners
            .iter()
            .filter(|bound| usize::from(bound.port) == FIRST_PORT + index);
        ports.push(named.next().context("a port is not bound")?.address);
    }
    Ok((configd, worker, ports))
}

fn worker_options(channel: tonic::transport::Channel, limits: Limits) -> WorkerOptions {
    WorkerOptions {
        configds: channel.into(),
        pool: POOL.into(),
        name: "edge".into(),
        threads: Some(1),
        ports: PortPolicy {
            address: Ipv4Addr::LOCALHOST.into(),
            policy: BindPolicy::Any,
            privileged_ports: false,
        },
        last_good: None,
        access_log: AccessLogTo::Nowhere,
        traces: false,
        limits,
        drain_delay: Duration::ZERO,
        edge: Edge::default(),
    }
}

/// A Gateway with a listener, a route and a Service for each backend.
#[must_use]
pub fn objects(backends: &[SocketAddr]) -> Vec<Value> {
    let listeners: Vec<_> = (0..backends.len())
        .map(|index| json!({"name": format!("l{index}"), "port": FIRST_PORT + index, "protocol": "HTTP"}))
        .collect();
    let mut objects = vec![
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "tidegate"},
            "spec": {"controllerName": CONTROLLER_NAME},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": NAMESPACE},
            "spec": {"gatewayClassName": "tidegate", "listeners": listeners},
        }),
    ];
    for (index, backend) in backends.iter().enumerate() {
        objects.extend(of_backend(index, *backend));
    }
    objects
}

fn of_backend(index: usize, backend: SocketAddr) -> [Value; 3] {
    let name = format!("b{index}");
    [
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "parentRefs": [{"name": "edge", "sectionName": format!("l{index}")}],
                "rules": [{"backendRefs": [{"name": name, "port": 80}]}],
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": name, "namespace": NAMESPACE,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": backend.port(), "protocol": "TCP"}],
            "endpoints": [{"addresses": [backend.ip().to_string()], "conditions": {"ready": true}}],
        }),
    ]
}

fn put(object: &Value) -> Operation {
    let text = |pointer| {
        let value = object.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let version = text("/apiVersion");
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let name = text("/metadata/name");
    let key = ObjectKey {
        source: "edge".to_owned(),
        group: group.to_owned(),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: name.clone(),
    };
    Operation {
        operation: Some(operation::Operation::Put(Object {
            uid: format!("{}-{name}", key.kind),
            key: Some(key),
            generation: 1,
            created_at_unix_s: 1_700_000_000,
            content: object.to_string().into(),
        })),
        precondition: None,
    }
}

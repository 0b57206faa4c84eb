//! A cluster of configds, and clients of each.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_compiler::{Pooling, Settings};
use tidegate_configd::{Configd, ConfigdHandle, ConfigdOptions, PeerOptions, PeerStart};
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyRequest, Object, ObjectKey, Operation, operation};
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{
    Hello, SubscribeRequest, SubscribeResponse, subscribe_request,
};
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

pub(crate) const POOL: &str = "default";
pub(crate) const SOURCE: &str = "files";
/// Longer than any election; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Three configds that founded a cluster together.
pub(crate) struct Cluster {
    peers: Vec<SocketAddr>,
    apis: Vec<SocketAddr>,
    configds: Vec<Option<ConfigdHandle>>,
    root: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let mut cluster = Self {
            peers: free_addresses(3),
            apis: free_addresses(3),
            configds: vec![None, None, None],
            root: tempfile::tempdir().unwrap(),
        };
        let starting = (0..3).map(|at| Configd::start(cluster.options(at)));
        let started = futures_util::future::join_all(starting).await;
        cluster.configds = started.into_iter().map(|one| Some(one.unwrap())).collect();
        cluster
    }

    fn options(&self, at: usize) -> ConfigdOptions {
        let pooling = Pooling::Single {
            pool: POOL.to_owned(),
        };
        ConfigdOptions {
            data_dir: self.dir(at),
            settings: Settings {
                controller_name: "tidegate.dev/gateway-controller".to_owned(),
                pooling,
                addresses: vec![],
            },
            listen: Some(self.apis[at]),
            cluster: Some(PeerOptions {
                name: format!("configd-{at}"),
                listen: self.peers[at],
                address: None,
                api_address: None,
                start: PeerStart::Found(self.peers.iter().map(ToString::to_string).collect()),
            }),
            metrics: Metrics::new("tidegate", "configd", "test"),
            readiness: Readiness::new(),
        }
    }

    fn dir(&self, at: usize) -> PathBuf {
        self.root.path().join(format!("configd-{at}"))
    }

    pub(crate) fn channel(&self, at: usize) -> Channel {
        let url = format!("http://{}", self.apis[at]);
        Endpoint::from_shared(url).unwrap().connect_lazy()
    }

    pub(crate) async fn stop(&mut self, at: usize) {
        self.configds[at].take().unwrap().shutdown().await;
    }

    /// Writes through one of them until it is taken, as a client would; the revision.
    pub(crate) async fn apply(&self, at: usize, objects: &[Value]) -> u64 {
        let request = ApplyRequest {
            source: SOURCE.to_owned(),
            operations: objects.iter().map(put).collect(),
            ..ApplyRequest::default()
        };
        let mut client = ObjectServiceClient::new(self.channel(at));
        let writing = async {
            loop {
                match client.apply(request.clone()).await {
                    Ok(answer) => return answer.into_inner().revision,
                    Err(status) if matches!(status.code(), Code::Unavailable | Code::Aborted) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Err(status) => panic!("{status}"),
                }
            }
        };
        let written = tokio::time::timeout(PATIENCE, writing).await;
        written.expect("a configd takes the write")
    }
}

fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let bound: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    bound.iter().map(address).collect()
}

/// What a worker that follows a configd is sent.
pub(crate) async fn subscribe(
    channel: Channel,
    worker: &str,
) -> (mpsc::Sender<SubscribeRequest>, Streaming<SubscribeResponse>) {
    let (requests, stream) = mpsc::channel(4);
    let hello = Hello {
        pool: POOL.to_owned(),
        worker: worker.to_owned(),
        have: None,
    };
    let message = Some(subscribe_request::Message::Hello(hello));
    requests.send(SubscribeRequest { message }).await.unwrap();
    let answers = SnapshotServiceClient::new(channel)
        .subscribe(ReceiverStream::new(stream))
        .await
        .unwrap();
    (requests, answers.into_inner())
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    answer.unwrap_or_else(|_| panic!("this never happened: {what}"))
}

/// A class, a Gateway with one listener and a route without a backend.
pub(crate) fn objects() -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "tidegate"},
            "spec": {"controllerName": "tidegate.dev/gateway-controller"},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "gatewayClassName": "tidegate",
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
            },
        }),
        route("cart"),
    ]
}

pub(crate) fn route(name: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "parentRefs": [{"name": "web"}],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": format!("/{name}")}}],
                "filters": [{
                    "type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere.example"},
                }],
            }],
        },
    })
}

fn put(value: &Value) -> Operation {
    let text = |pointer| {
        let found = value.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let key = ObjectKey {
        source: SOURCE.to_owned(),
        group: "gateway.networking.k8s.io".to_owned(),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    };
    let object = Object {
        key: Some(key),
        uid: "uid".to_owned(),
        generation: 1,
        created_at_unix_s: 1_700_000_000,
        content: value.to_string().into(),
    };
    Operation {
        operation: Some(operation::Operation::Put(object)),
        precondition: None,
    }
}

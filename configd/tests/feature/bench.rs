//! A configd in a temporary directory, and the objects that the tests feed it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_compiler::{Pooling, Settings};
use tidegate_configd::{Configd, ConfigdError, ConfigdHandle, ConfigdOptions, Security};
use tidegate_proto::history::v1::history_service_client::HistoryServiceClient;
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{
    ApplyRequest, ApplyResponse, Object, ObjectKey, Operation, operation,
};
use tidegate_proto::plans::v1::plan_service_client::PlanServiceClient;
use tidegate_proto::rollouts::v1::rollout_service_client::RolloutServiceClient;
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{
    Ack, GetSnapshotRequest, Hello, Nack, Problem, SnapshotId, SnapshotInfo, SubscribeRequest,
    SubscribeResponse, Traffic, Update, subscribe_request, subscribe_response,
};
use tidegate_proto::sources::v1::source_service_client::SourceServiceClient;
use tidegate_proto::statuses::v1::ListStatusesRequest;
use tidegate_proto::statuses::v1::status_service_client::StatusServiceClient;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tidegate_runtime::seal::SealKeys;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

pub(crate) const POOL: &str = "default";
pub(crate) const SOURCE: &str = "files";
const LIMIT: Duration = Duration::from_secs(20);

/// A running configd.
pub(crate) struct Bench {
    handle: ConfigdHandle,
    pub(crate) channel: Channel,
}

impl Bench {
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::listening(dir, None, Security::Plaintext).await
    }

    pub(crate) async fn listening(
        dir: &Path,
        listen: Option<SocketAddr>,
        security: Security,
    ) -> Self {
        let started = Self::try_start(dir, listen, security, None).await;
        started.unwrap()
    }

    pub(crate) async fn sealing(dir: &Path, keys: &Path) -> Result<Self, ConfigdError> {
        let keys = SealKeys::load(keys, None).unwrap();
        Self::try_start(dir, None, Security::Plaintext, Some(keys)).await
    }

    pub(crate) async fn try_start(
        dir: &Path,
        listen: Option<SocketAddr>,
        security: Security,
        seal_keys: Option<SealKeys>,
    ) -> Result<Self, ConfigdError> {
        let pooling = Pooling::Single {
            pool: POOL.to_owned(),
        };
        let controller_name = "tidegate.dev/gateway-controller".to_owned();
        let handle = Configd::start(ConfigdOptions {
            data_dir: dir.to_owned(),
            settings: Settings {
                controller_name,
                pooling,
                addresses: vec![],
            },
            listen,
            security,
            seal_keys,
            disk_reserve: None,
            highest_level: None,
            cluster: None,
            metrics: Metrics::new("tidegate", "configd", "test"),
            readiness: Readiness::new(),
        })
        .await?;
        let channel = handle.channel();
        Ok(Self { handle, channel })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.address().unwrap()
    }

    pub(crate) async fn temporary() -> (Self, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Self::start(dir.path()).await, dir)
    }

    pub(crate) async fn stop(self) {
        drop(self.channel);
        self.handle.shutdown().await;
    }

    pub(crate) fn objects(&self) -> ObjectServiceClient<Channel> {
        ObjectServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub(crate) fn snapshots(&self) -> SnapshotServiceClient<Channel> {
        SnapshotServiceClient::new(self.channel.clone())
    }

    pub(crate) fn history(&self) -> HistoryServiceClient<Channel> {
        HistoryServiceClient::new(self.channel.clone())
    }

    pub(crate) fn plans(&self) -> PlanServiceClient<Channel> {
        PlanServiceClient::new(self.channel.clone())
    }

    pub(crate) fn sources(&self) -> SourceServiceClient<Channel> {
        SourceServiceClient::new(self.channel.clone())
    }

    pub(crate) fn rollouts(&self) -> RolloutServiceClient<Channel> {
        RolloutServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn try_apply(
        &self,
        operations: Vec<Operation>,
    ) -> Result<ApplyResponse, Status> {
        let request = ApplyRequest {
            source: SOURCE.to_owned(),
            operations,
            ..ApplyRequest::default()
        };
        self.objects()
            .apply(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub(crate) async fn apply(&self, objects: &[Value]) -> ApplyResponse {
        self.try_apply(objects.iter().map(put).collect())
            .await
            .unwrap()
    }

    /// Waits until the head of the pool was compiled from `revision` or a newer one.
    pub(crate) async fn compiled(&self, revision: u64) -> SnapshotInfo {
        let wait = async {
            loop {
                let statuses = StatusServiceClient::new(self.channel.clone())
                    .list_statuses(ListStatusesRequest::default())
                    .await;
                if statuses.is_ok_and(|board| board.into_inner().revision >= revision) {
                    return self.newest().await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .expect("the revision is compiled")
    }

    /// Waits until the newest version is one that fits.
    pub(crate) async fn until(&self, fits: impl Fn(&SnapshotInfo) -> bool) -> SnapshotInfo {
        let wait = async {
            loop {
                let newest = self.newest().await;
                if fits(&newest) {
                    return newest;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .expect("such a version comes")
    }

    pub(crate) async fn newest(&self) -> SnapshotInfo {
        let request = GetSnapshotRequest {
            pool: POOL.to_owned(),
            version: 0,
        };
        let mut pieces = self
            .snapshots()
            .get_snapshot(request)
            .await
            .unwrap()
            .into_inner();
        pieces.message().await.unwrap().unwrap().info.unwrap()
    }

    /// The status of an object, as JSON.
    pub(crate) async fn status(&self, kind: &str, name: &str) -> Value {
        let request = ListStatusesRequest {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..ListStatusesRequest::default()
        };
        let mut client = StatusServiceClient::new(self.channel.clone());
        let statuses = client
            .list_statuses(request)
            .await
            .unwrap()
            .into_inner()
            .statuses;
        statuses.first().map_or(Value::Null, |status| {
            serde_json::from_slice(&status.status).unwrap()
        })
    }
}

/// A worker that only talks.
pub(crate) struct FakeWorker {
    requests: mpsc::Sender<SubscribeRequest>,
    answers: Streaming<SubscribeResponse>,
    /// How often it was last asked to say what it answers, until somebody looks.
    pub(crate) asked_every_ms: Option<u32>,
}

impl FakeWorker {
    pub(crate) async fn connect(bench: &Bench, name: &str, have: Option<SnapshotId>) -> Self {
        let (requests, stream) = mpsc::channel(4);
        let hello = Hello {
            pool: POOL.to_owned(),
            worker: name.to_owned(),
            have,
        };
        requests
            .send(message(subscribe_request::Message::Hello(hello)))
            .await
            .unwrap();
        let answers = bench
            .snapshots()
            .subscribe(ReceiverStream::new(stream))
            .await
            .unwrap();
        Self {
            requests,
            answers: answers.into_inner(),
            asked_every_ms: None,
        }
    }

    /// The next message, or `None` if none comes within a moment.
    pub(crate) async fn next_within(
        &mut self,
        limit: Duration,
    ) -> Option<subscribe_response::Message> {
        let next = tokio::time::timeout(limit, self.answers.message())
            .await
            .ok()?;
        next.unwrap().unwrap().message
    }

    pub(crate) async fn next(&mut self) -> subscribe_response::Message {
        self.next_within(LIMIT).await.expect("a message comes")
    }

    /// The pieces of the next update.
    pub(crate) async fn update(&mut self) -> Vec<Update> {
        let mut pieces = vec![];
        loop {
            match self.next().await {
                subscribe_response::Message::Update(piece) => {
                    let last = piece.last;
                    pieces.push(piece);
                    if last {
                        return pieces;
                    }
                }
                subscribe_response::Message::ReportTraffic(report) => {
                    self.asked_every_ms = Some(report.every_ms);
                }
                _ => {}
            }
        }
    }

    pub(crate) async fn ack(&self, update: &Update) {
        let id = update.info.as_ref().unwrap().id.clone();
        let ack = Ack {
            id,
            ..Ack::default()
        };
        self.requests
            .send(message(subscribe_request::Message::Ack(ack)))
            .await
            .unwrap();
    }

    /// What it has answered with a version.
    pub(crate) async fn answered(&self, version: u64, requests: u64, errors: u64) {
        let traffic = Traffic {
            version,
            requests,
            errors,
        };
        self.requests
            .send(message(subscribe_request::Message::Traffic(traffic)))
            .await
            .unwrap();
    }

    pub(crate) async fn nack(&self, update: &Update) {
        self.refuse(update, vec![]).await;
    }

    pub(crate) async fn refuse(&self, update: &Update, problems: Vec<Problem>) {
        let id = update.info.as_ref().unwrap().id.clone();
        let nack = Nack { id, problems };
        self.requests
            .send(message(subscribe_request::Message::Nack(nack)))
            .await
            .unwrap();
    }
}

fn message(message: subscribe_request::Message) -> SubscribeRequest {
    SubscribeRequest {
        message: Some(message),
    }
}

/// A Gateway with one listener, a Service with one endpoint, and a route between them.
pub(crate) fn shop() -> Vec<Value> {
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
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "cart", "namespace": "shop"},
            "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "cart-1", "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "cart"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 3000, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
        }),
        route("cart", "/cart"),
    ]
}

pub(crate) fn route(name: &str, path: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "parentRefs": [{"name": "web"}],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "backendRefs": [{"name": "cart", "port": 80}],
            }],
        },
    })
}

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

pub(crate) fn object(value: &Value) -> Object {
    Object {
        key: Some(key(value)),
        uid: "uid".to_owned(),
        generation: 1,
        created_at_unix_s: 1_700_000_000,
        content: value.to_string().into(),
    }
}

pub(crate) fn put(value: &Value) -> Operation {
    let operation = Some(operation::Operation::Put(object(value)));
    Operation {
        operation,
        precondition: None,
    }
}

pub(crate) fn delete(value: &Value) -> Operation {
    let operation = Some(operation::Operation::Delete(key(value)));
    Operation {
        operation,
        precondition: None,
    }
}

/// The refusal's message, after checking that it is an INVALID_ARGUMENT.
pub(crate) fn invalid(refusal: Status) -> String {
    assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal:?}");
    refusal.message().to_owned()
}

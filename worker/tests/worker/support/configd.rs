//! A configd that sends what a test tells it to, over real gRPC.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidegate_ir::{EncodedPart, Part, Snapshot};
use tidegate_proto::ir::v1 as ir;
use tidegate_proto::snapshots::v1::snapshot_service_server::{
    SnapshotService, SnapshotServiceServer,
};
use tidegate_proto::snapshots::v1::subscribe_request::Message as Say;
use tidegate_proto::snapshots::v1::subscribe_response::Message as Hear;
use tidegate_proto::snapshots::v1::*;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

/// Which pool every test uses.
pub const POOL: &str = "test";

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a worker answered.
#[derive(Debug, Clone)]
pub enum Answer {
    Ack(Ack),
    Nack(Nack),
}

/// The fake; clones share it.
#[derive(Clone)]
pub struct Configd {
    pub address: SocketAddr,
    updates: broadcast::Sender<Vec<Hear>>,
    /// Sent to those who subscribe later.
    newest: Arc<Mutex<Option<Vec<Hear>>>>,
    hellos: Arc<Mutex<Vec<Hello>>>,
    traffic: Arc<Mutex<Option<Traffic>>>,
    answers: Arc<Mutex<mpsc::UnboundedReceiver<Answer>>>,
    answered: mpsc::UnboundedSender<Answer>,
}

impl Configd {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (updates, _) = broadcast::channel(1024);
        let (answered, answers) = mpsc::unbounded_channel();
        let configd = Self {
            address: listener.local_addr().unwrap(),
            updates,
            newest: Arc::default(),
            hellos: Arc::default(),
            traffic: Arc::default(),
            answers: Arc::new(Mutex::new(answers)),
            answered,
        };
        let service = SnapshotServiceServer::new(configd.clone());
        tokio::task::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        configd
    }

    pub fn channel(&self) -> tonic::transport::Channel {
        let address = format!("http://{}", self.address);
        tonic::transport::Endpoint::from_shared(address)
            .unwrap()
            .connect_lazy()
    }

    /// Sends pieces as they are.
    pub fn send_pieces(&self, pieces: Vec<Update>) {
        let pieces: Vec<Hear> = pieces.into_iter().map(Hear::Update).collect();
        *self.newest.lock().unwrap() = Some(pieces.clone());
        let _ = self.updates.send(pieces);
    }

    /// Sends a whole snapshot and waits until the worker has answered.
    pub async fn send(&self, snapshot: &Snapshot) -> Answer {
        self.send_pieces(vec![whole(snapshot)]);
        self.answer().await
    }

    /// Sends a snapshot that must be applied.
    pub async fn apply(&self, snapshot: &Snapshot) -> Ack {
        match self.send(snapshot).await {
            Answer::Ack(ack) => ack,
            Answer::Nack(nack) => panic!("refused: {nack:?}"),
        }
    }

    pub async fn answer(&self) -> Answer {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(answer) = self.answers.lock().unwrap().try_recv() {
                return answer;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the worker does not answer"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Has the worker say what it has answered, until it has answered so many requests.
    pub async fn traffic_of(&self, requests: u64) -> Traffic {
        let ask = ReportTraffic { every_ms: 100 };
        let _ = self.updates.send(vec![Hear::ReportTraffic(ask)]);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let said = *self.traffic.lock().unwrap();
            if let Some(traffic) = said.filter(|said| said.requests >= requests) {
                return traffic;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the worker says {said:?}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub fn hellos(&self) -> Vec<Hello> {
        self.hellos.lock().unwrap().clone()
    }
}

pub fn snapshot(version: u64, parts: impl IntoIterator<Item = Part>) -> Snapshot {
    Snapshot::new(POOL, version, parts.into_iter().map(EncodedPart::encode))
}

pub fn id(snapshot: &Snapshot) -> SnapshotId {
    SnapshotId {
        pool: snapshot.pool.to_string(),
        version: snapshot.version,
        digest: Bytes::copy_from_slice(snapshot.manifest().digest().as_bytes()),
        epoch: snapshot.epoch,
    }
}

/// The update that makes a snapshot out of nothing.
pub fn whole(snapshot: &Snapshot) -> Update {
    changes(&Snapshot::new(POOL, 0, []), snapshot)
}

/// The update that makes `to` out of `from`.
pub fn changes(from: &Snapshot, to: &Snapshot) -> Update {
    let delta = from.manifest().delta_to(&to.manifest());
    let digest = |digest: tidegate_ir::Digest| Bytes::copy_from_slice(digest.as_bytes());
    let put = delta.put.iter().map(|(key, named)| ir::PartRef {
        kind: key.kind.number(),
        name: key.name.to_string(),
        digest: digest(*named),
    });
    let blobs = delta.put.iter().filter_map(|(key, named)| {
        let content = to.get(key)?.bytes().clone();
        Some(ir::Blob {
            digest: digest(*named),
            content,
        })
    });
    let removed = delta.removed.iter();
    Update {
        info: Some(SnapshotInfo {
            id: Some(id(to)),
            ..Default::default()
        }),
        base_version: from.version,
        put: put.collect(),
        removed: removed
            .map(|key| ir::PartKey {
                kind: key.kind.number(),
                name: key.name.to_string(),
            })
            .collect(),
        blobs: blobs.collect(),
        last: true,
        openers: vec![],
    }
}

#[tonic::async_trait]
impl SnapshotService for Configd {
    type SubscribeStream = Boxed<SubscribeResponse>;
    type GetSnapshotStream = Boxed<GetSnapshotResponse>;
    type WatchSnapshotsStream = Boxed<WatchSnapshotsResponse>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        let mut updates = self.updates.subscribe();
        let newest = self.newest.lock().unwrap().clone();
        tokio::task::spawn(async move {
            let mut next = newest;
            loop {
                let pieces = match next.take() {
                    Some(pieces) => pieces,
                    None => match updates.recv().await {
                        Ok(pieces) => pieces,
                        Err(_) => return,
                    },
                };
                for piece in pieces {
                    let response = SubscribeResponse {
                        message: Some(piece),
                    };
                    if sender.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
            }
        });
        let (configd, mut said) = (self.clone(), request.into_inner());
        tokio::task::spawn(async move {
            while let Some(Ok(request)) = said.next().await {
                match request.message {
                    Some(Say::Hello(hello)) => configd.hellos.lock().unwrap().push(hello),
                    Some(Say::Ack(ack)) => drop(configd.answered.send(Answer::Ack(ack))),
                    Some(Say::Nack(nack)) => drop(configd.answered.send(Answer::Nack(nack))),
                    Some(Say::Traffic(said)) => *configd.traffic.lock().unwrap() = Some(said),
                    None => {}
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_snapshot(
        &self,
        _: Request<GetSnapshotRequest>,
    ) -> Result<Response<Self::GetSnapshotStream>, Status> {
        Err(Status::unimplemented("not part of the fake"))
    }

    async fn list_snapshots(
        &self,
        _: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        Err(Status::unimplemented("not part of the fake"))
    }

    async fn diff_snapshots(
        &self,
        _: Request<DiffSnapshotsRequest>,
    ) -> Result<Response<DiffSnapshotsResponse>, Status> {
        Err(Status::unimplemented("not part of the fake"))
    }

    async fn watch_snapshots(
        &self,
        _: Request<WatchSnapshotsRequest>,
    ) -> Result<Response<Self::WatchSnapshotsStream>, Status> {
        Err(Status::unimplemented("not part of the fake"))
    }

    async fn list_workers(
        &self,
        _: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        Err(Status::unimplemented("not part of the fake"))
    }

    async fn wait(&self, _: Request<WaitRequest>) -> Result<Response<WaitResponse>, Status> {
        Err(Status::unimplemented("not part of the fake"))
    }
}

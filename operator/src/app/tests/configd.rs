//! A configd that stores what it is told and says the statuses that a test wants.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::Stream;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tidegate_proto::objects::v1::object_service_server::{ObjectService, ObjectServiceServer};
use tidegate_proto::objects::v1::operation::Operation as Change;
use tidegate_proto::objects::v1::*;
use tidegate_proto::sources::v1::source_service_server::{SourceService, SourceServiceServer};
use tidegate_proto::sources::v1::*;
use tidegate_proto::statuses::v1::status_service_server::{StatusService, StatusServiceServer};
use tidegate_proto::statuses::v1::*;
use tidegate_runtime::tasks::Tasks;
use tokio::sync::{broadcast, watch};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::key::ObjectKey as Key;
use crate::kinds::GATEWAY_GROUP;

/// What it knows.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// By kind, namespace and name.
    pub(super) objects: BTreeMap<String, Object>,
    pub(super) sessions: u64,
    pub(super) incarnation: String,
    sequence: u64,
    revision: u64,
}

#[derive(Clone)]
struct Services {
    state: Arc<watch::Sender<State>>,
    said: Arc<Mutex<BTreeMap<Key, ObjectStatus>>>,
    news: broadcast::Sender<ObjectStatus>,
}

/// It runs as long as the channel to it.
pub(super) struct FakeConfigd {
    pub(super) channel: Channel,
    services: Services,
}

impl FakeConfigd {
    pub(super) async fn start() -> Self {
        let services = Services {
            state: Arc::new(watch::Sender::new(State::default())),
            said: Arc::default(),
            news: broadcast::channel(64).0,
        };
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let incoming = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let server = Server::builder()
            .add_service(ObjectServiceServer::new(services.clone()))
            .add_service(SourceServiceServer::new(services.clone()))
            .add_service(StatusServiceServer::new(services.clone()));
        Tasks::new().spawn("configd", server.serve_with_incoming(incoming));
        let dial = tower::service_fn(move |_: http::Uri| {
            let sender = sender.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(1 << 20);
                let sent = sender.send(Ok::<_, std::io::Error>(theirs)).await;
                sent.map(|()| TokioIo::new(ours))
                    .map_err(std::io::Error::other)
            }
        });
        let endpoint = Endpoint::from_static("http://configd.test");
        Self {
            channel: endpoint.connect_with_connector_lazy(dial),
            services,
        }
    }

    /// Waits until what it knows is as wanted.
    pub(super) async fn until(&self, wanted: impl Fn(&State) -> bool) -> State {
        let mut state = self.services.state.subscribe();
        state
            .wait_for(|state| wanted(state))
            .await
            .expect("it lives")
            .clone()
    }

    /// Says the status of an object.
    pub(super) fn say(&self, kind: &str, namespace: &str, name: &str, uid: &str, status: &Value) {
        let key = Key::new(GATEWAY_GROUP, kind, namespace, name);
        self.publish(ObjectStatus {
            key: Some(key.wire("eu-1")),
            uid: uid.to_owned(),
            generation: 1,
            status: status.to_string().into(),
            ..ObjectStatus::default()
        });
    }

    /// Says the status of the Gateway `infra/web`, and the parameters by which it is served.
    pub(super) fn say_served(&self, status: &Value, parameters: &str) {
        let key = Key::new(GATEWAY_GROUP, "Gateway", "infra", "web");
        self.publish(ObjectStatus {
            key: Some(key.wire("eu-1")),
            uid: "g".to_owned(),
            generation: 1,
            status: status.to_string().into(),
            pool: "infra/web".to_owned(),
            parameters: parameters.to_owned(),
            ..ObjectStatus::default()
        });
    }

    /// Says the status of a Gateway, and the workers that it shares: those of a pool, and of a port.
    pub(super) fn say_shared(&self, (name, uid): (&str, &str), status: &Value, bind_port: u32) {
        let key = Key::new(GATEWAY_GROUP, "Gateway", "infra", name);
        let port = BoundPort {
            port: 80,
            is_udp: false,
            bind_port,
        };
        self.publish(ObjectStatus {
            key: Some(key.wire("eu-1")),
            uid: uid.to_owned(),
            generation: 1,
            status: status.to_string().into(),
            pool: "infra/shared_tidegate".to_owned(),
            ports: vec![port],
            ..ObjectStatus::default()
        });
    }

    fn publish(&self, status: ObjectStatus) {
        let key = Key::from(status.key.as_ref().expect("it has one"));
        let mut said = self.services.said.lock().expect("nobody panicked");
        said.insert(key, status.clone());
        let _ = self.services.news.send(status);
    }

    /// Loses everything, as a restore of an old backup does.
    pub(super) fn forget(&self) {
        self.services.state.send_modify(|state| {
            state.objects.clear();
            state.sequence = u64::MAX;
        });
    }
}

fn name(key: Option<&ObjectKey>) -> String {
    key.map(Key::from)
        .map(|key| key.to_string())
        .unwrap_or_default()
}

/// Whether nobody takes it.
fn is_refused(object: &Object) -> bool {
    name(object.key.as_ref()).contains("refused")
}

fn refuse(places: &[usize], field: impl Fn(usize) -> String) -> Result<(), Status> {
    if places.is_empty() {
        return Ok(());
    }
    let violation = |place: &usize| FieldViolation::new(field(*place), "it is refused");
    let details = ErrorDetails::with_bad_request(places.iter().map(violation).collect::<Vec<_>>());
    Err(Status::with_error_details(
        Code::InvalidArgument,
        "refused",
        details,
    ))
}

impl Services {
    fn write(
        &self,
        session: u64,
        sequence: u64,
        change: impl FnOnce(&mut State),
    ) -> Result<u64, Status> {
        let known = self.state.borrow().clone();
        if session != known.sessions || sequence != known.sequence.wrapping_add(1) {
            return Err(Status::failed_precondition("SEQUENCE_GAP"));
        }
        self.state.send_modify(|state| {
            state.sequence += 1;
            state.revision += 1;
            change(state);
        });
        Ok(known.revision + 1)
    }
}

#[tonic::async_trait]
impl ObjectService for Services {
    type WatchObjectsStream =
        Pin<Box<dyn Stream<Item = Result<WatchObjectsResponse, Status>> + Send>>;

    async fn apply(
        &self,
        request: Request<ApplyRequest>,
    ) -> Result<Response<ApplyResponse>, Status> {
        let request = request.into_inner();
        let puts = request.operations.iter().enumerate();
        let refused = puts.filter(
            |(_, one)| matches!(&one.operation, Some(Change::Put(object)) if is_refused(object)),
        );
        let refused: Vec<usize> = refused.map(|(place, _)| place).collect();
        refuse(&refused, |place| format!("operations[{place}].put.content"))?;
        let revision = self.write(request.session, request.sequence, |state| {
            for one in request.operations {
                match one.operation {
                    Some(Change::Put(object)) => {
                        state.objects.insert(name(object.key.as_ref()), object);
                    }
                    Some(Change::Delete(key)) => drop(state.objects.remove(&name(Some(&key)))),
                    None => {}
                }
            }
        })?;
        let answer = ApplyResponse {
            revision,
            ..ApplyResponse::default()
        };
        Ok(Response::new(answer))
    }

    async fn resync(
        &self,
        request: Request<Streaming<ResyncRequest>>,
    ) -> Result<Response<ResyncResponse>, Status> {
        let mut stream = request.into_inner();
        let (mut objects, mut first, mut end) = (vec![], None, None);
        while let Some(message) = stream.message().await? {
            objects.extend(message.objects);
            first = first.or(Some((message.session, message.sequence)));
            end = message.end;
        }
        let refused = objects
            .iter()
            .enumerate()
            .filter(|(_, object)| is_refused(object));
        let refused: Vec<usize> = refused.map(|(place, _)| place).collect();
        refuse(&refused, |place| format!("objects[{place}].content"))?;
        let count = objects.len() as u64;
        if end.map(|end| end.objects) != Some(count) {
            return Err(Status::data_loss("RESYNC_INCOMPLETE"));
        }
        let (session, sequence) = first.unwrap_or_default();
        let revision = self.write(session, sequence, |state| {
            let objects = objects.into_iter();
            state.objects = objects
                .map(|object| (name(object.key.as_ref()), object))
                .collect();
        })?;
        let answer = ResyncResponse {
            revision,
            ..ResyncResponse::default()
        };
        Ok(Response::new(answer))
    }

    async fn get_object(
        &self,
        _: Request<GetObjectRequest>,
    ) -> Result<Response<GetObjectResponse>, Status> {
        Err(Status::unimplemented("no operator reads objects"))
    }

    async fn list_objects(
        &self,
        _: Request<ListObjectsRequest>,
    ) -> Result<Response<ListObjectsResponse>, Status> {
        Err(Status::unimplemented("no operator reads objects"))
    }

    async fn watch_objects(
        &self,
        _: Request<WatchObjectsRequest>,
    ) -> Result<Response<Self::WatchObjectsStream>, Status> {
        Err(Status::unimplemented("no operator reads objects"))
    }
}

#[tonic::async_trait]
impl SourceService for Services {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        let request = request.into_inner();
        self.state.send_modify(|state| {
            state.sessions += 1;
            state.sequence = 0;
            state.incarnation = request.incarnation;
        });
        let session = self.state.borrow().sessions;
        let answer = OpenSessionResponse {
            session,
            resync_due: true,
        };
        Ok(Response::new(answer))
    }

    async fn renew_lease(
        &self,
        _: Request<RenewLeaseRequest>,
    ) -> Result<Response<RenewLeaseResponse>, Status> {
        Ok(Response::new(RenewLeaseResponse::default()))
    }

    async fn list_sources(
        &self,
        _: Request<ListSourcesRequest>,
    ) -> Result<Response<ListSourcesResponse>, Status> {
        Err(Status::unimplemented("no operator lists sources"))
    }

    async fn confirm_deletions(
        &self,
        _: Request<ConfirmDeletionsRequest>,
    ) -> Result<Response<ConfirmDeletionsResponse>, Status> {
        Err(Status::unimplemented("no operator confirms"))
    }

    async fn set_source_policy(
        &self,
        _: Request<SetSourcePolicyRequest>,
    ) -> Result<Response<SetSourcePolicyResponse>, Status> {
        Err(Status::unimplemented("no operator sets policies"))
    }
}

#[tonic::async_trait]
impl StatusService for Services {
    type WatchStatusesStream =
        Pin<Box<dyn Stream<Item = Result<WatchStatusesResponse, Status>> + Send>>;

    async fn list_statuses(
        &self,
        _: Request<ListStatusesRequest>,
    ) -> Result<Response<ListStatusesResponse>, Status> {
        let answer = ListStatusesResponse {
            revision: self.state.borrow().revision,
            ..ListStatusesResponse::default()
        };
        Ok(Response::new(answer))
    }

    async fn watch_statuses(
        &self,
        _: Request<WatchStatusesRequest>,
    ) -> Result<Response<Self::WatchStatusesStream>, Status> {
        let said = self.said.lock().expect("nobody panicked");
        let mut news = self.news.subscribe();
        let first = WatchStatusesResponse {
            statuses: said.values().cloned().collect(),
            synced: true,
            ..WatchStatusesResponse::default()
        };
        let (sender, answers) = tokio::sync::mpsc::channel(64);
        Tasks::new().spawn("status watch", async move {
            let mut next = first;
            while sender.send(Ok(next)).await.is_ok() {
                let Ok(status) = news.recv().await else {
                    return;
                };
                next = WatchStatusesResponse {
                    statuses: vec![status],
                    ..WatchStatusesResponse::default()
                };
            }
        });
        let answers = tokio_stream::wrappers::ReceiverStream::new(answers);
        Ok(Response::new(Box::pin(answers)))
    }
}

//! A Kubernetes API server as far as the operator needs one: discovery, lists that stream, objects and patches.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;

use crate::gateway::merge_patch;
use crate::kinds::KINDS;

/// Events that wait for a watch; no test has so many.
const EVENTS_MAX: usize = 1_000;

/// Groups that are served, each in one version.
const GROUPS: [(&str, &str); 2] = [
    ("gateway.networking.k8s.io", "v1"),
    ("tidegate.dev", "v1alpha1"),
];

/// What pools have and configd does not get.
const OF_POOLS: [&str; 4] = [
    "deployments",
    "horizontalpodautoscalers",
    "networkpolicies",
    "poddisruptionbudgets",
];

type Answer = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>>;

/// The server; clones share it.
#[derive(Clone)]
pub(super) struct ApiServer {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<()>>,
}

#[derive(Default)]
struct State {
    version: u64,
    writes: u64,
    /// By the path of their collection, then by name.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    watches: Vec<(String, tokio::sync::mpsc::Sender<Value>)>,
}

impl ApiServer {
    pub(super) fn new() -> Self {
        let server = Self {
            state: Arc::default(),
            changed: Arc::new(watch::Sender::new(())),
        };
        let system = json!({"metadata": {"name": "kube-system", "uid": "uid-of-kube-system"}});
        server.put("/api/v1/namespaces", system);
        server
    }

    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// Stores an object, as a user or another controller does.
    pub(super) fn put(&self, collection: &str, object: Value) {
        self.lock().store(collection, object);
        self.changed.send_replace(());
    }

    pub(super) fn delete(&self, collection: &str, name: &str) {
        self.lock().remove(collection, name);
        self.changed.send_replace(());
    }

    /// Patches that have changed something.
    pub(super) fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Waits for an object of the collection that is as wanted.
    pub(super) async fn until(&self, collection: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut changed = self.changed.subscribe();
        loop {
            let found = self.lock().find(collection, &wanted);
            if let Some(found) = found {
                return found;
            }
            changed.changed().await.expect("the server lives");
        }
    }

    /// Waits until no object of the collection is so.
    pub(super) async fn until_none(&self, collection: &str, unwanted: impl Fn(&Value) -> bool) {
        let mut changed = self.changed.subscribe();
        while self.lock().find(collection, &unwanted).is_some() {
            changed.changed().await.expect("the server lives");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test has panicked with it")
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        let body: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default();
        if head.method == Method::GET {
            if let Some(found) = discovery(&path) {
                return whole(StatusCode::OK, &found);
            }
            if query.contains("watch=true") {
                return self.watch(&path);
            }
        }
        let is_apply = head
            .headers
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/apply-patch"));
        let (status, answer) = self.lock().answer(&head.method, &path, body, is_apply);
        self.changed.send_replace(());
        whole(status, &answer)
    }

    fn watch(&self, path: &str) -> Answer {
        let mut state = self.lock();
        let (sender, receiver) = tokio::sync::mpsc::channel(EVENTS_MAX);
        let kind = kind_of(path).unwrap_or_default();
        for object in state.of_kind(&kind) {
            let _ = sender.try_send(json!({"type": "ADDED", "object": object}));
        }
        let version = state.version.to_string();
        let end = json!({"k8s.io/initial-events-end": "true"});
        let metadata = json!({"resourceVersion": version, "annotations": end});
        let bookmark = json!({"kind": "X", "apiVersion": "v1", "metadata": metadata});
        let _ = sender.try_send(json!({"type": "BOOKMARK", "object": bookmark}));
        state.watches.push((kind, sender));
        let lines = ReceiverStream::new(receiver);
        let frames = lines.map(|line| Ok(http_body::Frame::data(Bytes::from(format!("{line}\n")))));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

impl State {
    fn store(&mut self, collection: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let objects = self.objects.entry(collection.to_owned()).or_default();
        let event = match objects.insert(name, object.clone()) {
            None => "ADDED",
            Some(_) => "MODIFIED",
        };
        self.tell(collection, event, &object);
    }

    fn remove(&mut self, collection: &str, name: &str) {
        let gone = self
            .objects
            .get_mut(collection)
            .and_then(|all| all.remove(name));
        if let Some(object) = gone {
            self.tell(collection, "DELETED", &object);
        }
    }

    fn tell(&mut self, collection: &str, event: &str, object: &Value) {
        let kind = kind_of(collection).unwrap_or_default();
        let event = json!({"type": event, "object": object});
        self.watches
            .retain(|(watched, sender)| *watched != kind || sender.try_send(event.clone()).is_ok());
    }

    fn of_kind(&self, kind: &str) -> Vec<Value> {
        let of_kind = self
            .objects
            .iter()
            .filter(|(collection, _)| kind_of(collection).as_deref() == Some(kind));
        of_kind
            .flat_map(|(_, objects)| objects.values().cloned())
            .collect()
    }

    fn find(&self, collection: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let objects = self.objects.get(collection)?;
        objects.values().find(|object| wanted(object)).cloned()
    }

    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        body: Value,
        is_apply: bool,
    ) -> (StatusCode, Value) {
        let item = path.strip_suffix("/status").unwrap_or(path);
        let (collection, name) = item.rsplit_once('/').unwrap_or_default();
        let found = self
            .objects
            .get(collection)
            .and_then(|all| all.get(name))
            .cloned();
        match (method, found) {
            (&Method::POST, _) => {
                self.store(path, body.clone());
                (StatusCode::CREATED, body)
            }
            (&Method::GET, Some(found)) => (StatusCode::OK, found),
            (&Method::GET, None) if kind_of(path).is_some() => {
                let items = self.of_kind(&kind_of(path).unwrap_or_default());
                let metadata = json!({"resourceVersion": self.version.to_string()});
                let list = json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items});
                (StatusCode::OK, list)
            }
            (&Method::PUT, Some(_)) => {
                self.store(collection, body.clone());
                (StatusCode::OK, body)
            }
            (&Method::PATCH, found) if found.is_some() || is_apply => {
                let mut after = found.clone().unwrap_or_default();
                let version = &body["metadata"]["resourceVersion"];
                if !version.is_null() && *version != after["metadata"]["resourceVersion"] {
                    return (StatusCode::CONFLICT, failure(409));
                }
                merge_patch(&mut after, &body);
                if found.as_ref() != Some(&after) {
                    self.writes += 1;
                    self.store(collection, after.clone());
                }
                (StatusCode::OK, after)
            }
            (&Method::DELETE, Some(found)) => {
                self.remove(collection, name);
                (StatusCode::OK, found)
            }
            _ => (StatusCode::NOT_FOUND, failure(404)),
        }
    }
}

fn failure(code: u16) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Conflict" };
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": reason,
    })
}

fn whole(status: StatusCode, body: &Value) -> Answer {
    let bytes = Bytes::from(body.to_string());
    let frames = stream::iter([Ok(http_body::Frame::data(bytes))]);
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

/// The last word of a collection's path, without the namespace.
fn kind_of(collection: &str) -> Option<String> {
    let last = collection.rsplit('/').next()?;
    if OF_POOLS.contains(&last) {
        return Some(last.to_owned());
    }
    plurals()
        .into_iter()
        .find(|(_, _, plural)| plural == last)
        .map(|found| found.2)
}

/// Group, kind and plural of what is served.
fn plurals() -> Vec<(&'static str, &'static str, String)> {
    let served = KINDS.iter().filter(|kind| {
        kind.group.is_empty() || GROUPS.iter().any(|(group, _)| *group == kind.group)
    });
    let plural = |kind: &str| match kind {
        "GatewayClass" => "gatewayclasses".to_owned(),
        "BackendTLSPolicy" => "backendtlspolicies".to_owned(),
        "BackendPolicy" => "backendpolicies".to_owned(),
        "GatewayParameters" => "gatewayparameters".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    served
        .map(|kind| (kind.group, kind.kind, plural(kind.kind)))
        .collect()
}

fn discovery(path: &str) -> Option<Value> {
    let resources = |group: &str, version: &str| {
        let own = plurals().into_iter().filter(|(of, _, _)| *of == group);
        let own = own.map(|(_, kind, plural)| {
            let namespaced = !matches!(kind, "GatewayClass" | "Namespace");
            json!({
                "name": plural, "singularName": "", "namespaced": namespaced, "kind": kind,
                "verbs": ["get", "list", "watch", "patch"],
            })
        });
        let version = match group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        };
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": own.collect::<Vec<_>>()})
    };
    let of_group = GROUPS
        .iter()
        .find(|(group, version)| path == format!("/apis/{group}/{version}"));
    if let Some((group, version)) = of_group {
        return Some(resources(group, version));
    }
    Some(match path {
        "/api" => {
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        }
        "/api/v1" => resources("", "v1"),
        "/apis" => {
            let groups = GROUPS.map(|(group, version)| {
                let version =
                    json!({"groupVersion": format!("{group}/{version}"), "version": version});
                json!({"name": group, "versions": [version], "preferredVersion": version})
            });
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        _ => return None,
    })
}

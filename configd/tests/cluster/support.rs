//! A cluster of configds, and clients of each.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidegate_compiler::{Pooling, Settings};
use tidegate_configd::{
    Configd, ConfigdError, ConfigdHandle, ConfigdOptions, PeerOptions, PeerStart, Security,
};
use tidegate_proto::cluster::v1::GetStatusRequest;
use tidegate_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyRequest, Object, ObjectKey, Operation, operation};
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{
    Hello, SubscribeRequest, SubscribeResponse, subscribe_request,
};
use tidegate_runtime::identity::authority::{Authority, Validity};
use tidegate_runtime::identity::{CredentialFiles, Credentials, Role};
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

const HOUR: Duration = Duration::from_secs(3_600);

/// Who writes and changes the cluster in these tests.
pub(crate) const ADMIN: &str = "automation/admin/test";

/// An authority of this name, and the certificates that it gives.
pub(crate) struct Pki {
    authority: Authority,
    folder: PathBuf,
}

impl Pki {
    pub(crate) fn new(folder: &Path, domain: &str) -> Self {
        let validity = Validity::from_now(HOUR);
        let authority = Authority::init(&folder.join("ca"), domain.parse().unwrap(), validity);
        Self {
            authority: authority.unwrap(),
            folder: folder.to_owned(),
        }
    }

    pub(crate) fn credentials(&self, principal: &str) -> Credentials {
        self.credentials_for(principal, Validity::from_now(HOUR))
    }

    pub(crate) fn expired(&self, principal: &str) -> Credentials {
        let now = SystemTime::now();
        let over = Validity {
            not_before: now - 2 * HOUR,
            not_after: now - HOUR,
        };
        self.credentials_for(principal, over)
    }

    fn credentials_for(&self, principal: &str, validity: Validity) -> Credentials {
        let folder = tempfile::tempdir_in(&self.folder).unwrap().keep();
        let folder = folder.join("tls");
        self.authority
            .issue_into(&folder, principal.parse().unwrap(), &[], validity)
            .unwrap();
        Credentials::load(CredentialFiles {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            authorities: folder.join("ca.crt"),
        })
        .unwrap()
    }
}

/// Three configds that founded a cluster together.
pub(crate) struct Cluster {
    pub(crate) peers: Vec<SocketAddr>,
    apis: Vec<SocketAddr>,
    configds: Vec<Option<ConfigdHandle>>,
    pub(crate) root: tempfile::TempDir,
    /// The highest feature level of those that are of an older release.
    pub(crate) levels: Vec<Option<u32>>,
    /// `None` where nobody proves anything.
    pub(crate) pki: Option<Pki>,
}

impl Cluster {
    /// With certificates.
    pub(crate) async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let pki = Pki::new(root.path(), "tidegate.test");
        Self::found(root, Some(pki), None).await
    }

    /// With certificates, all of an older release, which knows feature levels up to this one.
    pub(crate) async fn start_at_level(level: u32) -> Self {
        let root = tempfile::tempdir().unwrap();
        let pki = Pki::new(root.path(), "tidegate.test");
        Self::found(root, Some(pki), Some(level)).await
    }

    pub(crate) async fn start_in_plaintext() -> Self {
        Self::found(tempfile::tempdir().unwrap(), None, None).await
    }

    async fn found(root: tempfile::TempDir, pki: Option<Pki>, level: Option<u32>) -> Self {
        let mut cluster = Self {
            peers: free_addresses(3),
            apis: free_addresses(3),
            configds: vec![None, None, None],
            root,
            levels: vec![level; 3],
            pki,
        };
        let starting = (0..3).map(|at| Configd::start(cluster.options(at, cluster.founders())));
        let started = futures_util::future::join_all(starting).await;
        cluster.configds = started.into_iter().map(|one| Some(one.unwrap())).collect();
        cluster
    }

    /// Starts a fourth configd, and so on, that asks the others for a place; its number.
    pub(crate) async fn join(&mut self) -> usize {
        let at = self.apis.len();
        self.peers.extend(free_addresses(1));
        self.apis.extend(free_addresses(1));
        self.levels.push(None);
        let scheme = self.pki.as_ref().map_or("http", |_| "https");
        let members = self.apis[..at].iter();
        let members = members.map(|api| format!("{scheme}://{api}")).collect();
        let options = self.options(at, PeerStart::Join(members));
        let joined = tokio::time::timeout(PATIENCE, Configd::start(options)).await;
        let joined = joined.expect("it gets a place").unwrap();
        self.configds.push(Some(joined));
        at
    }

    fn founders(&self) -> PeerStart {
        PeerStart::Found(self.peers[..3].iter().map(ToString::to_string).collect())
    }

    fn options(&self, at: usize, start: PeerStart) -> ConfigdOptions {
        let pooling = Pooling::Single {
            pool: POOL.to_owned(),
        };
        let name = format!("configd-{at}");
        let security = self.pki.as_ref().map_or(Security::Plaintext, |pki| {
            Security::MutualTls(pki.credentials(&format!("configd/{name}")))
        });
        ConfigdOptions {
            data_dir: self.dir(at),
            settings: Settings {
                controller_name: "tidegate.dev/gateway-controller".to_owned(),
                pooling,
                addresses: vec![],
            },
            listen: Some(self.apis[at]),
            security,
            disk_reserve: None,
            highest_level: self.levels[at],
            seal_keys: None,
            cluster: Some(PeerOptions {
                name,
                listen: self.peers[at],
                address: None,
                api_address: None,
                start,
            }),
            metrics: Metrics::new("tidegate", "configd", "test"),
            readiness: Readiness::new(),
        }
    }

    pub(crate) fn dir(&self, at: usize) -> PathBuf {
        self.root.path().join(format!("configd-{at}"))
    }

    /// A channel of whoever may do everything.
    pub(crate) fn channel(&self, at: usize) -> Channel {
        self.channel_as(at, ADMIN)
    }

    pub(crate) fn channel_as(&self, at: usize, principal: &str) -> Channel {
        let address = self.apis[at];
        match &self.pki {
            None => {
                let url = format!("http://{address}");
                Endpoint::from_shared(url).unwrap().connect_lazy()
            }
            Some(pki) => channel(address, &pki.credentials(principal)),
        }
    }

    /// A channel of a worker of the pool.
    pub(crate) fn worker_channel(&self, at: usize) -> Channel {
        self.channel_as(at, &format!("worker/{POOL}"))
    }

    /// Which of them leads, as they all see it.
    pub(crate) async fn leader(&self) -> usize {
        eventually("all agree on who leads", || async {
            let mut leader = None;
            for at in 0..self.configds.len() {
                if self.configds[at].is_none() {
                    continue;
                }
                let mut client = ClusterServiceClient::new(self.channel(at));
                let status = client.get_status(GetStatusRequest {}).await.ok()?;
                let name = status.into_inner().leader?.name;
                if leader.get_or_insert_with(|| name.clone()) != &name {
                    return None;
                }
            }
            leader?.strip_prefix("configd-")?.parse().ok()
        })
        .await
    }

    pub(crate) async fn stop(&mut self, at: usize) {
        self.configds[at].take().unwrap().shutdown().await;
    }

    /// Starts one of the founders again on what it has.
    pub(crate) async fn restart(&mut self, at: usize) -> Result<(), ConfigdError> {
        let started = Configd::start(self.options(at, self.founders())).await?;
        self.configds[at] = Some(started);
        Ok(())
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

/// Addresses that nobody else uses: each is an address of the loopback of its own, on which no connection begins.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let address = || {
        let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let own = (std::process::id() % 250) as u8 + 1;
        let ip = Ipv4Addr::new(127, own, high, low);
        let bound = TcpListener::bind((ip, 0)).unwrap();
        bound.local_addr().unwrap()
    };
    (0..count).map(|_| address()).collect()
}

/// Connects with these credentials, to configds and nobody else.
pub(crate) fn channel(address: SocketAddr, credentials: &Credentials) -> Channel {
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    endpoint.connect_with_connector_lazy(credentials.dialer(Role::Configd))
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

pub(crate) fn put(value: &Value) -> Operation {
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

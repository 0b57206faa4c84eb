//! Who may do what over mTLS, and that certificates change while everything goes on.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tidegate_configd::Security;
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{
    ApplyRequest, GetObjectRequest, ListObjectsRequest, ResyncRequest,
};
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{
    Hello, ListSnapshotsRequest, SubscribeRequest, SubscribeResponse, subscribe_request,
};
use tidegate_proto::statuses::v1::ListStatusesRequest;
use tidegate_proto::statuses::v1::status_service_client::StatusServiceClient;
use tidegate_runtime::identity::authority::{Authority, Validity};
use tidegate_runtime::identity::{CredentialFiles, Credentials, Role};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::bench::{Bench, SOURCE, object, put, route, shop};

const HOUR: Duration = Duration::from_secs(3_600);
const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// A configd that asks for certificates, and the authority that gives them.
pub(crate) struct Secured {
    pub(crate) bench: Bench,
    pki: Authority,
    pub(crate) folder: TempDir,
}

impl Secured {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let domain = "tidegate.test".parse().unwrap();
        let pki = Authority::init(&root.join("ca"), domain, Validity::from_now(HOUR)).unwrap();
        let server = issue(&pki, &root.join("server"), "configd/n1", HOUR);
        let security = Security::MutualTls(Credentials::load(server).unwrap());
        let bench = Bench::listening(&root.join("data"), Some(ANY.into()), security).await;
        Self { bench, pki, folder }
    }

    /// A channel with a new certificate.
    pub(crate) fn as_principal(&self, principal: &str) -> Channel {
        let folder = self.folder.path().join(principal.replace('/', "-"));
        let files = issue(&self.pki, &folder, principal, HOUR);
        channel(self.bench.address(), &Credentials::load(files).unwrap())
    }
}

fn issue(pki: &Authority, folder: &Path, principal: &str, validity: Duration) -> CredentialFiles {
    let validity = Validity::from_now(validity);
    pki.issue_into(folder, principal.parse().unwrap(), &[], validity)
        .unwrap();
    files(folder)
}

fn files(folder: &Path) -> CredentialFiles {
    CredentialFiles {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
        authorities: folder.join("ca.crt"),
    }
}

fn channel(address: SocketAddr, credentials: &Credentials) -> Channel {
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    endpoint.connect_with_connector_lazy(credentials.dialer(Role::Configd))
}

pub(crate) fn batch(source: &str, key_source: &str) -> ApplyRequest {
    let mut operation = put(&route("cart", "/cart"));
    if let Some(tidegate_proto::objects::v1::operation::Operation::Put(put)) =
        &mut operation.operation
    {
        put.key.as_mut().unwrap().source = key_source.to_owned();
    }
    ApplyRequest {
        source: source.to_owned(),
        operations: vec![operation],
        ..ApplyRequest::default()
    }
}

/// Code and reason of a refusal.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("it is refused");
    let info = status.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("{status:?} has no ErrorInfo"));
    assert_eq!(info.domain, "tidegate.dev");
    (status.code(), info.reason)
}

fn denied(reason: &str) -> (Code, String) {
    (Code::PermissionDenied, reason.to_owned())
}

#[tokio::test]
async fn an_operator_writes_and_reads_its_own_source_only() {
    let secured = Secured::start().await;
    let channel = secured.as_principal("operator/eu-1");
    let mut objects = ObjectServiceClient::new(channel.clone());
    // The source is stamped from the certificate.
    objects.apply(batch("", "")).await.unwrap();
    objects.apply(batch("eu-1", "eu-1")).await.unwrap();
    let other = objects.apply(batch("eu-2", "eu-2")).await;
    assert_eq!(refusal(other), denied("SOURCE_NOT_OWN"));
    let smuggled = objects.apply(batch("", "eu-2")).await.unwrap_err();
    assert_eq!(smuggled.code(), Code::InvalidArgument);
    let set = ResyncRequest {
        source: "eu-2".to_owned(),
        ..ResyncRequest::default()
    };
    let other = objects.resync(tokio_stream::iter([set])).await;
    assert_eq!(refusal(other), denied("SOURCE_NOT_OWN"));

    secured.bench.apply(&shop()).await;
    let all = objects.list_objects(ListObjectsRequest::default()).await;
    let all = all.unwrap().into_inner().objects;
    assert_eq!(all.len(), 1, "the objects of {SOURCE} are not its own");
    assert_eq!(
        all[0].object.as_ref().unwrap().key.as_ref().unwrap().source,
        "eu-1"
    );
    let theirs = GetObjectRequest {
        key: object(&route("cart", "/cart")).key,
        ..GetObjectRequest::default()
    };
    assert_eq!(
        refusal(objects.get_object(theirs).await),
        denied("SOURCE_NOT_OWN")
    );
    let mut statuses = StatusServiceClient::new(channel);
    let theirs = ListStatusesRequest {
        source: SOURCE.to_owned(),
        ..ListStatusesRequest::default()
    };
    assert_eq!(
        refusal(statuses.list_statuses(theirs).await),
        denied("SOURCE_NOT_OWN")
    );
}

async fn subscribe(
    channel: &Channel,
    pool: &str,
    worker: &str,
) -> Result<SubscribeResponse, Status> {
    let hello = SubscribeRequest {
        message: Some(subscribe_request::Message::Hello(Hello {
            pool: pool.to_owned(),
            worker: worker.to_owned(),
            have: None,
        })),
    };
    // The stream stays open, or configd would take the worker for gone.
    let requests =
        tokio_stream::StreamExt::chain(tokio_stream::iter([hello]), tokio_stream::pending());
    let mut client = SnapshotServiceClient::new(channel.clone());
    let mut answers = client.subscribe(requests).await?.into_inner();
    Ok(answers.message().await?.expect("the stream goes on"))
}

#[tokio::test]
async fn a_worker_gets_its_own_pool_under_its_own_name() {
    let secured = Secured::start().await;
    let bench = &secured.bench;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let worker = secured.as_principal("worker/default/-/w1");
    assert!(subscribe(&worker, "default", "w1").await.is_ok());
    let other = subscribe(&worker, "default", "w2").await;
    assert_eq!(refusal(other), denied("WORKER_NOT_OWN"));
    let elsewhere = secured.as_principal("worker/shop/web");
    let other = subscribe(&elsewhere, "default", "w1").await;
    assert_eq!(refusal(other), denied("POOL_NOT_OWN"));
    let mut objects = ObjectServiceClient::new(worker.clone());
    assert_eq!(
        refusal(objects.apply(batch("files", "files")).await),
        denied("ROLE_NOT_ALLOWED")
    );
    let mut snapshots = SnapshotServiceClient::new(worker);
    let list = snapshots
        .list_snapshots(ListSnapshotsRequest::default())
        .await;
    assert_eq!(refusal(list), denied("ROLE_NOT_ALLOWED"));
}

#[tokio::test]
async fn automation_does_what_its_access_says() {
    let secured = Secured::start().await;
    let read = secured.as_principal("automation/read/grafana");
    let mut objects = ObjectServiceClient::new(read.clone());
    assert_eq!(
        refusal(objects.apply(batch("a", "a")).await),
        denied("ROLE_NOT_ALLOWED")
    );
    objects
        .list_objects(ListObjectsRequest::default())
        .await
        .unwrap();
    assert_eq!(
        refusal(subscribe(&read, "default", "w1").await),
        denied("ROLE_NOT_ALLOWED")
    );
    let write = secured.as_principal("automation/write/ci");
    let mut objects = ObjectServiceClient::new(write);
    objects.apply(batch("a", "a")).await.unwrap();
    objects.apply(batch("b", "b")).await.unwrap();
}

#[tokio::test]
async fn nobody_gets_in_without_a_certificate_of_ours() {
    let secured = Secured::start().await;
    let url = format!("http://{}", secured.bench.address());
    let plaintext = Endpoint::from_shared(url).unwrap().connect_lazy();
    let mut objects = ObjectServiceClient::new(plaintext);
    assert!(
        objects
            .list_objects(ListObjectsRequest::default())
            .await
            .is_err()
    );

    let folder = secured.folder.path().join("foreign");
    let domain = "tidegate.test".parse().unwrap();
    let pki = Authority::init(&folder, domain, Validity::from_now(HOUR)).unwrap();
    let foreign = issue(&pki, &folder.join("w"), "automation/admin/root", HOUR);
    let foreign = Credentials::load(foreign).unwrap();
    let mut objects = ObjectServiceClient::new(channel(secured.bench.address(), &foreign));
    let status = objects
        .list_objects(ListObjectsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let text = causes(&status);
    assert!(
        text.contains("no authority in --tls-ca has signed its certificate"),
        "{text}"
    );
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_opened_it() {
    let secured = Secured::start().await;
    let bench = &secured.bench;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let folder = secured.folder.path().join("short");
    let short = issue(
        &secured.pki,
        &folder,
        "worker/default",
        Duration::from_secs(3),
    );
    let short = channel(bench.address(), &Credentials::load(short).unwrap());
    let hello = Hello {
        pool: "default".to_owned(),
        worker: "w1".to_owned(),
        have: None,
    };
    let hello = SubscribeRequest {
        message: Some(subscribe_request::Message::Hello(hello)),
    };
    let requests =
        tokio_stream::StreamExt::chain(tokio_stream::iter([hello]), tokio_stream::pending());
    let mut client = SnapshotServiceClient::new(short);
    let mut answers = client.subscribe(requests).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    while let Ok(Some(_)) = answers.message().await {}
    assert!(
        subscribe(&secured.as_principal("worker/default"), "default", "w1")
            .await
            .is_ok()
    );
}

/// A folder as Kubernetes mounts a Secret: its files are links through a link that is swapped.
struct Mounted {
    root: PathBuf,
    folder: PathBuf,
}

impl Mounted {
    fn new(root: &Path, name: &str) -> Self {
        let root = root.join(format!("{name}-mount"));
        let folder = root.join("mounted");
        fs::create_dir_all(&folder).unwrap();
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(root.join("..data").join(file), folder.join(file)).unwrap();
        }
        Self { root, folder }
    }

    /// A new certificate that counts for `hours`, with these authorities trusted.
    fn put(&self, pki: &Authority, principal: &str, hours: u32, trusted: &[&Authority]) {
        let folder = self.root.join(format!("v{hours}"));
        issue(pki, &folder, principal, hours * HOUR);
        let bundle: String = trusted.iter().map(|pki| pki.certificate_pem()).collect();
        fs::write(folder.join("ca.crt"), bundle).unwrap();
        let link = self.root.join("new");
        symlink(&folder, &link).unwrap();
        fs::rename(link, self.root.join("..data")).unwrap();
    }

    fn not_after(&self) -> i64 {
        let subject = Credentials::load(files(&self.folder)).unwrap().subject();
        subject.not_after_unix_s
    }

    fn credentials(&self) -> Credentials {
        let credentials = Credentials::load(files(&self.folder)).unwrap();
        credentials.reload_every(Duration::from_millis(5))
    }
}

/// What a client with these credentials learns of the server, if it is let in.
async fn met(address: SocketAddr, credentials: &Credentials) -> Option<i64> {
    let stream = TcpStream::connect(address).await.unwrap();
    let met = credentials.connect(stream, Role::Configd).await.ok();
    met.map(|(_, server)| server.not_after_unix_s)
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    while !holds().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_authorities_change_under_load_without_a_failed_request() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let authority = |name: &str| {
        let domain = "tidegate.test".parse().unwrap();
        Authority::init(&root.join(name), domain, Validity::from_now(HOUR)).unwrap()
    };
    let (old, new) = (authority("old"), authority("new"));
    let (server, client) = (Mounted::new(root, "server"), Mounted::new(root, "client"));
    let put = |version: u32, pki: &Authority, trusted: &[&Authority]| {
        client.put(pki, "automation/write/ci", version, trusted);
        server.put(pki, "configd/n1", version, trusted);
    };
    put(1, &old, &[&old]);
    let credentials = client.credentials();
    let security = Security::MutualTls(server.credentials());
    let bench = Bench::listening(&root.join("data"), Some(ANY.into()), security).await;
    let address = bench.address();
    let load = async {
        for request in 0.. {
            // A connection for each request, so that each has a handshake.
            let mut objects = ObjectServiceClient::new(channel(address, &credentials));
            let batch = ApplyRequest {
                source: SOURCE.to_owned(),
                operations: vec![crate::bench::put(&route("cart", &format!("/{request}")))],
                ..ApplyRequest::default()
            };
            let answer = objects.apply(batch).await;
            answer.unwrap_or_else(|status| panic!("request {request}: {}", causes(&status)));
        }
    };
    let in_use = async |probe: &Credentials| {
        until(async || credentials.subject().not_after_unix_s == client.not_after()).await;
        until(async || met(address, probe).await == Some(server.not_after())).await;
    };
    let probe = |pki: &Authority| {
        let probe = Mounted::new(root, if std::ptr::eq(pki, &old) { "was" } else { "is" });
        probe.put(pki, "automation/read/probe", 1, &[&old, &new]);
        probe.credentials()
    };
    let (was, is) = (probe(&old), probe(&new));
    let rotation = async {
        put(2, &old, &[&old]);
        in_use(&was).await;
        // First both authorities count, on both sides; then the new one signs; then the old one goes.
        put(3, &old, &[&old, &new]);
        in_use(&is).await;
        put(4, &new, &[&old, &new]);
        in_use(&was).await;
        put(5, &new, &[&new]);
        in_use(&is).await;
        assert_eq!(
            met(address, &was).await,
            None,
            "the old authority counts no more"
        );
    };
    let following = credentials.clone();
    tokio::select! {
        _ = following.follow() => unreachable!("it follows for ever"),
        () = load => unreachable!("it goes on for ever"),
        () = rotation => {}
    }
}

//! With a seal key nothing in the data directory shows a private key, and workers get it all the same.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use futures_util::StreamExt as _;
use prost::Message as _;

use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tidegate_configd::Security;
use tidegate_ir::{EncodedPart, Part, PartKind};
use tidegate_proto::history::v1::rollback_request::To;
use tidegate_proto::history::v1::{BlameRequest, RollbackRequest};
use tidegate_proto::ir::v1::PartKey;
use tidegate_proto::objects::v1::GetObjectRequest;
use tidegate_proto::plans::v1::{ApplyPlanRequest, CreatePlanRequest};
use tidegate_proto::snapshots::v1::{DiffSnapshotsRequest, Update};
use tidegate_runtime::identity::authority::{Authority, Issued, Validity};
use tidegate_runtime::seal::{Opener, SealKeys};

use tidegate_store::{OpenOptions, Store};
use tonic_types::StatusExt as _;

use crate::bench::{Bench, FakeWorker, SOURCE, key, put, shop};

const OLD: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const NEW: &str = "f00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

fn write_keys(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A configd's data directory and its file of seal keys, which has the old one at first.
struct Home {
    data: PathBuf,
    keys: PathBuf,
    _folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, keys) = (folder.path().join("data"), folder.path().join("keys"));
        write_keys(&keys, OLD);
        Self {
            data,
            keys,
            _folder: folder,
        }
    }

    async fn start(&self) -> Bench {
        Bench::sealing(&self.data, &self.keys).await.unwrap()
    }
}

/// Stores the shop over HTTPS and waits for its snapshot.
async fn secure(bench: &Bench, issued: &Issued) {
    let applied = bench.apply(&secured_shop(issued)).await;
    bench.compiled(applied.revision).await;
}

/// Waits for a snapshot after that version.
async fn compiled_after(bench: &Bench, version: u64) {
    while bench.newest().await.id.unwrap().version == version {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn issued() -> Issued {
    let validity = Validity::from_now(std::time::Duration::from_secs(3_600));
    let domain = "tidegate.test".parse().unwrap();
    let (authority, _) = Authority::create(domain, validity).unwrap();
    let principal = "configd/shop".parse().unwrap();
    let names = ["shop.example.com".to_owned()];
    authority.issue(principal, &names, validity).unwrap()
}

fn secret(issued: &Issued) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "cert", "namespace": "shop"},
        "data": {
            "tls.crt": STANDARD.encode(&issued.certificate_pem),
            "tls.key": STANDARD.encode(&issued.key_pem),
        },
    })
}

/// The shop over HTTPS.
fn secured_shop(issued: &Issued) -> Vec<Value> {
    let mut objects = shop();
    objects[1]["spec"]["listeners"] = json!([{
        "name": "https", "port": 443, "protocol": "HTTPS",
        "tls": {"certificateRefs": [{"name": "cert"}]},
    }]);
    objects.push(secret(issued));
    objects
}

fn der(issued: &Issued) -> Vec<u8> {
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    key.secret_der().to_vec()
}

/// The files below a folder in which the bytes are.
fn holding(folder: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, bytes));
        } else if fs::read(&path)
            .unwrap()
            .windows(bytes.len())
            .any(|window| window == bytes)
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// What shows a key: a piece of the bytes that workers use, of the PEM text, and of the Secret's base64 of that.
fn traces(issued: &Issued) -> [Vec<u8>; 3] {
    let (der, text) = (der(issued), STANDARD.encode(&issued.key_pem));
    let body: Vec<&str> = issued.key_pem.lines().collect();
    [
        der[der.len() / 2..der.len() / 2 + 24].to_vec(),
        body[body.len() / 2].as_bytes().to_vec(),
        text.as_bytes()[60..100].to_vec(),
    ]
}

/// The files that show the key.
fn leaks(folder: &Path, issued: &Issued) -> Vec<String> {
    let traces = traces(issued);
    traces
        .iter()
        .flat_map(|trace| holding(folder, trace))
        .collect()
}

fn shows(bytes: &[u8], issued: &Issued) -> bool {
    let shows = |trace: &Vec<u8>| bytes.windows(trace.len()).any(|window| window == trace);
    traces(issued).iter().any(shows)
}

/// An error with its causes.
fn causes(error: &dyn Error) -> String {
    let cause = error.source().map(causes);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn key_id(path: &Path) -> String {
    SealKeys::load(path, None).unwrap().ids()[0].to_string()
}

/// The key that an update brings, opened.
fn key_of(update: &Update) -> Vec<u8> {
    let kind = PartKind::PrivateKey.number();
    let part = update.put.iter().find(|part| part.kind == kind).unwrap();
    let blob = update
        .blobs
        .iter()
        .find(|blob| blob.digest == part.digest)
        .unwrap();
    let opener = update
        .openers
        .iter()
        .find(|opener| opener.digest == part.digest);
    let opened = match opener {
        Some(opener) => Opener::new(&opener.key)
            .unwrap()
            .open(&blob.content)
            .unwrap()
            .into(),
        None => blob.content.clone(),
    };
    let part = EncodedPart::decode(PartKind::PrivateKey, opened).unwrap();
    let Part::PrivateKey(key) = &**part.part() else {
        panic!("{part:?}");
    };
    key.der.expose().to_vec()
}

#[tokio::test]
async fn no_file_shows_the_key_and_a_worker_gets_it() {
    let home = Home::new();
    let issued = issued();
    let bench = home.start().await;
    secure(&bench, &issued).await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let update = worker.update().await.remove(0);
    assert_eq!(key_of(&update), der(&issued));
    let before = bench.newest().await.id;
    drop(worker);
    bench.stop().await;
    assert_eq!(leaks(&home.data, &issued), Vec::<String>::new());

    let bench = home.start().await;
    let again = bench.apply(&secured_shop(&issued)).await;
    assert_eq!(
        again.changed, 0,
        "what is sealed equals what is sealed again"
    );
    assert_eq!(bench.compiled(again.revision).await.id, before);
    bench.stop().await;
}

#[tokio::test]
async fn no_answer_for_people_shows_the_key() {
    let home = Home::new();
    let issued = issued();
    let bench = home.start().await;
    secure(&bench, &issued).await;
    let request = GetObjectRequest {
        key: Some(key(&secret(&issued))),
        ..GetObjectRequest::default()
    };
    let read = bench.objects().get_object(request).await.unwrap();
    let read = read.into_inner().object.unwrap().object.unwrap();
    let read: Value = serde_json::from_slice(&read.content).unwrap();
    assert_eq!(read["data"]["tls.key"], "[redacted]");
    let diff = DiffSnapshotsRequest::default();
    let diff = bench.snapshots().diff_snapshots(diff).await.unwrap();
    let blame = bench.history().blame(BlameRequest::default()).await;
    let (diff, blame) = (diff.into_inner(), blame.unwrap().into_inner());
    let kind = PartKind::PrivateKey.number();
    let is_key = |part: &Option<PartKey>| part.as_ref().is_some_and(|part| part.kind == kind);
    assert!(diff.changes.iter().any(|change| is_key(&change.part)));
    assert!(blame.parts.iter().any(|part| is_key(&part.part)));
    for answer in [diff.encode_to_vec(), blame.encode_to_vec()] {
        assert!(!shows(&answer, &issued));
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_plan_reads_what_is_sealed_and_writes_it_sealed() {
    let home = Home::new();
    let (first, second) = (issued(), issued());
    let bench = home.start().await;
    secure(&bench, &first).await;
    let request = CreatePlanRequest {
        source: SOURCE.to_owned(),
        operations: vec![put(&secret(&second))],
        ..CreatePlanRequest::default()
    };
    let plan = bench.plans().create_plan(request).await.unwrap();
    let plan = plan.into_inner().plan.unwrap();
    assert_eq!(
        plan.pools[0].parts, 2,
        "a certificate and its key: {plan:?}"
    );
    assert!(!shows(&plan.encode_to_vec(), &second));
    let request = ApplyPlanRequest {
        id: plan.info.unwrap().id,
        ..ApplyPlanRequest::default()
    };
    let applied = bench.plans().apply_plan(request).await.unwrap();
    bench.compiled(applied.into_inner().revision).await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    assert_eq!(key_of(&worker.update().await.remove(0)), der(&second));
    drop(worker);
    bench.stop().await;
    assert_eq!(leaks(&home.data, &second), Vec::<String>::new());
}

#[tokio::test]
async fn a_backup_holds_keys_sealed() {
    let home = Home::new();
    let issued = issued();
    let bench = home.start().await;
    secure(&bench, &issued).await;
    bench.stop().await;
    let store = Store::open(OpenOptions::new(&home.data)).await.unwrap();
    let mut backup = vec![];
    let mut frames = std::pin::pin!(store.backup().await.unwrap());
    while let Some(frame) = frames.next().await {
        backup.extend_from_slice(&frame);
    }
    let name = b"cert";
    assert!(backup.windows(name.len()).any(|bytes| bytes == name));
    assert!(!shows(&backup, &issued));
    store.shutdown().await;
}

#[tokio::test]
async fn without_the_flag_keys_lie_in_the_clear_until_it_is_given() {
    let home = Home::new();
    let issued = issued();
    let bench = Bench::start(&home.data).await;
    secure(&bench, &issued).await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    assert_eq!(key_of(&worker.update().await.remove(0)), der(&issued));
    let before = bench.newest().await.id.unwrap().version;
    drop(worker);
    bench.stop().await;
    assert!(
        !leaks(&home.data, &issued).is_empty(),
        "the test would find it"
    );

    let bench = home.start().await;
    compiled_after(&bench, before).await;
    let diff = DiffSnapshotsRequest {
        pool: crate::bench::POOL.to_owned(),
        ..DiffSnapshotsRequest::default()
    };
    let diff = bench
        .snapshots()
        .diff_snapshots(diff)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        diff.changes.len(),
        1,
        "the key's bytes are others, and nothing else is"
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_new_key_seals_and_the_old_one_can_go() {
    let home = Home::new();
    let issued = issued();
    let bench = home.start().await;
    secure(&bench, &issued).await;
    let before = bench.newest().await.id.unwrap().version;
    bench.stop().await;

    write_keys(&home.keys, &[NEW, OLD].concat());
    let bench = home.start().await;
    compiled_after(&bench, before).await;
    let back = RollbackRequest::default();
    let refused = bench.history().rollback(back).await.unwrap_err();
    assert_eq!(
        refused.get_error_details().error_info().unwrap().reason,
        "NOTHING_BEFORE",
        "another seal is no other content"
    );
    bench.stop().await;

    write_keys(&home.keys, NEW);
    let bench = home.start().await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    assert_eq!(key_of(&worker.update().await.remove(0)), der(&issued));
    drop(worker);
    let back = RollbackRequest {
        to: Some(To::Version(before)),
        ..RollbackRequest::default()
    };
    let refused = bench.history().rollback(back).await.unwrap_err();
    assert_eq!(
        refused.get_error_details().error_info().unwrap().reason,
        "SEAL_KEY_MISSING"
    );
    bench.stop().await;
}

#[tokio::test]
async fn configd_does_not_start_without_the_key_and_names_it() {
    let home = Home::new();
    let missing = key_id(&home.keys);
    let bench = home.start().await;
    secure(&bench, &issued()).await;
    bench.stop().await;

    write_keys(&home.keys, NEW);
    let wrong = Bench::sealing(&home.data, &home.keys).await.err();
    let none = Bench::try_start(&home.data, None, Security::Plaintext, None).await;
    for error in [wrong, none.err()] {
        let text = causes(&error.expect("the key is missing"));
        assert!(text.contains("Secret shop/cert cannot be opened"), "{text}");
        assert!(text.contains(&format!("key {missing}")), "{text}");
        assert!(text.contains("--seal-key"), "{text}");
    }
}

//! With a seal key nothing in the data directory shows a private key, and workers get it all the same.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tidegate_ir::{EncodedPart, Part, PartKind};
use tidegate_proto::objects::v1::GetObjectRequest;
use tidegate_proto::snapshots::v1::{DiffSnapshotsRequest, Update};
use tidegate_runtime::identity::authority::{Authority, Issued, Validity};
use tidegate_runtime::seal::Opener;

use crate::bench::{Bench, FakeWorker, key, shop};

const OLD: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const NEW: &str = "f00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

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

/// The files that show the key, as the bytes that workers use or the text that its Secret has.
fn leaks(folder: &Path, issued: &Issued) -> Vec<String> {
    let (der, text) = (der(issued), STANDARD.encode(&issued.key_pem));
    let mut found = holding(folder, &der[der.len() / 2..der.len() / 2 + 24]);
    found.extend(holding(folder, &text.as_bytes()[60..100]));
    found
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
    let folder = tempfile::tempdir().unwrap();
    let (data, keys) = (folder.path().join("data"), folder.path().join("keys"));
    fs::write(&keys, OLD).unwrap();
    let issued = issued();
    let bench = Bench::sealing(&data, &keys).await.unwrap();
    bench
        .compiled(bench.apply(&secured_shop(&issued)).await.revision)
        .await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let update = worker.update().await.remove(0);
    assert_eq!(key_of(&update), der(&issued));
    let secret = GetObjectRequest {
        key: Some(key(&secret(&issued))),
    };
    let read = bench
        .objects()
        .get_object(secret)
        .await
        .unwrap()
        .into_inner();
    let read: Value =
        serde_json::from_slice(&read.object.unwrap().object.unwrap().content).unwrap();
    assert_eq!(read["data"]["tls.key"], "[redacted]");
    let before = bench.newest().await.id;
    drop(worker);
    bench.stop().await;
    assert_eq!(leaks(&data, &issued), Vec::<String>::new());

    let bench = Bench::sealing(&data, &keys).await.unwrap();
    let again = bench.apply(&secured_shop(&issued)).await;
    assert_eq!(
        again.changed, 0,
        "what is sealed equals what is sealed again"
    );
    assert_eq!(bench.compiled(again.revision).await.id, before);
    bench.stop().await;
}

#[tokio::test]
async fn without_the_flag_keys_lie_in_the_clear_until_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let (data, keys) = (folder.path().join("data"), folder.path().join("keys"));
    fs::write(&keys, OLD).unwrap();
    let issued = issued();
    let bench = Bench::start(&data).await;
    bench
        .compiled(bench.apply(&secured_shop(&issued)).await.revision)
        .await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    assert_eq!(key_of(&worker.update().await.remove(0)), der(&issued));
    let before = bench.newest().await.id.unwrap().version;
    drop(worker);
    bench.stop().await;
    assert!(!leaks(&data, &issued).is_empty(), "the test would find it");

    let bench = Bench::sealing(&data, &keys).await.unwrap();
    while bench.newest().await.id.unwrap().version == before {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
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
    let folder = tempfile::tempdir().unwrap();
    let (data, keys) = (folder.path().join("data"), folder.path().join("keys"));
    fs::write(&keys, OLD).unwrap();
    let issued = issued();
    let bench = Bench::sealing(&data, &keys).await.unwrap();
    bench
        .compiled(bench.apply(&secured_shop(&issued)).await.revision)
        .await;
    let before = bench.newest().await.id.unwrap().version;
    bench.stop().await;

    fs::write(&keys, [OLD, NEW].concat()).unwrap();
    let bench = Bench::sealing(&data, &keys).await.unwrap();
    while bench.newest().await.id.unwrap().version == before {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    bench.stop().await;

    fs::write(&keys, NEW).unwrap();
    let bench = Bench::sealing(&data, &keys).await.unwrap();
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    assert_eq!(key_of(&worker.update().await.remove(0)), der(&issued));
    drop(worker);
    bench.stop().await;

    fs::write(&keys, OLD).unwrap();
    let error = Bench::sealing(&data, &keys)
        .await
        .err()
        .expect("the key is gone");
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    let text = causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    assert!(text.contains("Secret shop/cert cannot be opened"), "{text}");
    assert!(text.contains("--seal-key"), "{text}");
}

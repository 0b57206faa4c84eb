//! The store through its public end: one node, real files.
#![allow(clippy::unwrap_used)]

#[path = "fixture/commit.rs"]
mod commit;

use std::path::Path;

use bytes::Bytes;
use tidegate_proto::{
    objects::v1::{Object, ObjectKey as WireKey, Operation, operation},
    raft::v1::PutObjects,
};
use tidegate_store::{Command, Digest, ObjectFilter, OpenOptions, Outcome, Store, StoreError};

use commit::commit_command;

fn put(name: &str, content: &str) -> Command {
    let key = WireKey {
        source: "files".to_owned(),
        kind: "Service".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        ..WireKey::default()
    };
    let content = Bytes::copy_from_slice(content.as_bytes());
    let object = Object {
        key: Some(key),
        content,
        ..Object::default()
    };
    let operation = Operation {
        operation: Some(operation::Operation::Put(object)),
        precondition: None,
    };
    let source = "files".to_owned();
    Command::PutObjects(PutObjects {
        source,
        operations: vec![operation],
        ..PutObjects::default()
    })
}

async fn open(dir: &Path) -> Store {
    Store::open(OpenOptions::new(dir)).await.unwrap()
}

fn content_of(store: &Store, name: &str) -> Option<String> {
    let (_, objects) = store.objects(&ObjectFilter::default());
    let object = objects
        .into_iter()
        .find(|object| **object.key.name() == *name)?;
    Some(String::from_utf8(object.content.to_vec()).unwrap())
}

#[tokio::test]
async fn a_lead_does_not_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.propose(put("cart", "one")).await.unwrap();
    let before = store.metrics().term;
    store.shutdown().await;
    drop(store);
    // In the same term, an entry could stand in the place of another one that followers have.
    let store = open(dir.path()).await;
    assert!(store.metrics().term > before);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let outcome = store.propose(put("cart", "one")).await.unwrap();
    let revision = store.revision();
    assert_eq!(
        outcome,
        Outcome::Applied {
            revision,
            changed: 1
        }
    );
    assert_eq!(
        store.propose(commit_command(0, b"v1")).await.unwrap(),
        Outcome::Committed { version: 1 }
    );
    assert_eq!(
        store.propose(commit_command(1, b"v2")).await.unwrap(),
        Outcome::Committed { version: 2 }
    );
    let (node, cluster) = (store.node_id(), store.cluster_id().to_owned());
    store.shutdown().await;
    drop(store);

    let store = open(dir.path()).await;
    assert_eq!(content_of(&store, "cart").as_deref(), Some("one"));
    assert_eq!(
        (store.revision(), store.node_id(), store.cluster_id()),
        (revision, node, &*cluster)
    );
    assert_eq!(store.head("pool").unwrap().version, 2);
    let first = &store.manifest("pool", 1).unwrap()[0];
    assert_eq!(store.blob(&first.digest).unwrap(), &b"v1"[..]);
    assert_eq!(
        store.delta("pool", 1, 2).unwrap()[0].before,
        Some(first.digest)
    );
    assert!(store.is_leader());
    store.shutdown().await;
}

#[tokio::test]
async fn an_image_and_a_purged_log_bring_back_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let options = || OpenOptions {
        image_every: 20,
        ..OpenOptions::new(dir.path())
    };
    let store = Store::open(options()).await.unwrap();
    for version in 0..100 {
        store
            .propose(put(&format!("s{}", version % 7), &version.to_string()))
            .await
            .unwrap();
        store
            .propose(commit_command(version, format!("v{version}").as_bytes()))
            .await
            .unwrap();
    }
    let (revision, before) = store.objects(&ObjectFilter::default());
    for _ in 0..100 {
        if store.metrics().purged_index.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(
        store.metrics().purged_index.unwrap() > 100,
        "{:?}",
        store.metrics()
    );
    store.shutdown().await;
    drop(store);

    let store = Store::open(options()).await.unwrap();
    assert_eq!(store.objects(&ObjectFilter::default()), (revision, before));
    assert_eq!(
        store
            .list("pool", Some(100), 2)
            .iter()
            .map(|meta| meta.version)
            .collect::<Vec<_>>(),
        [99, 98]
    );
    for version in 1..=100 {
        let part = &store.manifest("pool", version).unwrap()[0];
        assert_eq!(
            store.blob(&part.digest).unwrap(),
            format!("v{}", version - 1).as_bytes()
        );
    }
    store.shutdown().await;
}

#[tokio::test]
async fn readers_are_woken_and_told_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (mut revision, mut heads) = (store.watch_revision(), store.watch_heads());
    let before = store.revision();
    store.propose(put("cart", "one")).await.unwrap();
    revision.changed().await.unwrap();
    let changed = store.changes_since(before).unwrap();
    assert_eq!(
        changed.iter().map(|key| &**key.name()).collect::<Vec<_>>(),
        ["cart"]
    );
    assert_eq!(store.changes_since(*revision.borrow()), Some(vec![]));
    store.propose(commit_command(0, b"v1")).await.unwrap();
    heads.changed().await.unwrap();
    assert_eq!(heads.borrow().get("pool"), Some(&1));
    store.shutdown().await;
}

#[tokio::test]
async fn a_directory_in_use_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let error = Store::open(OpenOptions::new(dir.path())).await.unwrap_err();
    let expected = format!(
        "data directory {} is in use by another tidegate process; stop it, or choose another directory",
        dir.path().display()
    );
    assert_eq!(error.to_string(), expected);
    store.shutdown().await;
}

#[tokio::test]
async fn a_directory_of_another_format_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let body = r#"{"format_version":9,"something":"new"}"#;
    let text = format!("{body}\ncrc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
    std::fs::write(dir.path().join("IDENTITY"), text).unwrap();
    let error = Store::open(OpenOptions::new(dir.path())).await.unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::OtherFormat {
                found: 9,
                wanted: 2,
                ..
            }
        ),
        "{error}"
    );
    let expected = format!(
        "data directory {} has format version 9, this tidegate reads version 2; use the tidegate that wrote \
         it. To change over, make a backup with that one (`tidegate cluster backup`) and restore it into an empty \
         directory with this one (`tidegate cluster restore`)",
        dir.path().display()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_directory_of_the_release_before_is_refused_with_the_way_to_take_it_over() {
    let dir = tempfile::tempdir().unwrap();
    let body = r#"{"format_version":1,"node_id":1,"cluster_id":"c","created_at_unix_ms":0}"#;
    let text = format!("{body}\ncrc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
    std::fs::write(dir.path().join("IDENTITY"), text).unwrap();
    std::fs::create_dir(dir.path().join("log")).unwrap();
    let error = Store::open(OpenOptions::new(dir.path())).await.unwrap_err();
    assert!(
        matches!(error, StoreError::OtherFormat { found: 1, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("`tidegate cluster restore`"),
        "{error}"
    );
    assert_eq!(
        std::fs::read_dir(dir.path().join("log")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn a_torn_identity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.shutdown().await;
    drop(store);
    let path = dir.path().join("IDENTITY");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    let error = Store::open(OpenOptions::new(dir.path())).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_log_that_is_gone_is_damage_and_not_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.propose(put("cart", "one")).await.unwrap();
    store.shutdown().await;
    drop(store);
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    let error = Store::open(OpenOptions::new(dir.path())).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn on_a_full_disk_writes_are_refused_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.propose(put("cart", "one")).await.unwrap();
    store.shutdown().await;
    drop(store);

    let mut options = OpenOptions::new(dir.path());
    options.free_bytes_min = u64::MAX;
    let store = Store::open(options).await.unwrap();
    let error = store.propose(put("cart", "two")).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert_eq!(content_of(&store, "cart").as_deref(), Some("one"));
    store.shutdown().await;
}

#[tokio::test]
async fn an_unknown_part_is_said_to_be_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let error = store.blob(&Digest::of(b"nothing")).unwrap_err();
    assert!(matches!(error, StoreError::NoBlob { .. }), "{error}");
    store.shutdown().await;
}

/// Batches that put many objects and delete them again.
fn come_and_go() -> [Command; 2] {
    let Command::PutObjects(one) = put("a", "content") else {
        unreachable!("it puts");
    };
    let Some(operation::Operation::Put(object)) = &one.operations[0].operation else {
        unreachable!("it puts");
    };
    let objects = (0..20_000).map(|number| {
        let mut object = object.clone();
        object.key.as_mut().unwrap().name = format!("many-{number}");
        object
    });
    let (puts, deletes) = objects
        .map(|object| {
            let key = object.key.clone().unwrap();
            (
                operation::Operation::Put(object),
                operation::Operation::Delete(key),
            )
        })
        .unzip();
    [puts, deletes].map(|changes: Vec<operation::Operation>| {
        let change = |change| Operation {
            operation: Some(change),
            precondition: None,
        };
        Command::PutObjects(PutObjects {
            operations: changes.into_iter().map(change).collect(),
            ..one.clone()
        })
    })
}

#[tokio::test]
async fn who_is_too_far_behind_is_told_the_oldest_revision_that_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.propose(put("cart", "one")).await.unwrap();
    let seen = store.revision();
    for command in come_and_go().into_iter().chain(come_and_go()) {
        store.propose(command).await.unwrap();
    }
    let all = ObjectFilter::default();
    let oldest = store.object_changes(&all, seen).unwrap_err();
    assert!(oldest > seen && oldest < store.revision());
    store.shutdown().await;
    drop(store);
    // It is no other one after a restart.
    let store = open(dir.path()).await;
    assert_eq!(store.object_changes(&all, seen), Err(oldest));
    let (revision, changes) = store.object_changes(&all, oldest).unwrap();
    assert_eq!((revision, changes.len()), (store.revision(), 20_000));
    store.shutdown().await;
}

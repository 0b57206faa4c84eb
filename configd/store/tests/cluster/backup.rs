//! What a backup holds comes back, in a new epoch, or not at all.

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use tidegate_store::{Digest, OpenOptions, Store, StoreError, restore};

use crate::commit::commit_command;
use crate::support::{Cluster, PATIENCE, eventually, names, options, put};

async fn back_up(store: &Store, to: &Path) {
    let mut frames = std::pin::pin!(store.backup().await.unwrap());
    let mut bytes = Vec::new();
    while let Some(frame) = frames.next().await {
        bytes.extend_from_slice(&frame);
    }
    std::fs::write(to, bytes).unwrap();
}

/// A cluster with an object and a version, its backup, and a directory to restore to.
async fn backed_up() -> (Cluster, PathBuf, PathBuf) {
    let cluster = Cluster::of(3).await;
    let leader = cluster.node(cluster.leader().await);
    put(leader, "cart").await;
    leader.propose(commit_command(0, b"v1")).await.unwrap();
    let file = cluster.dir(0).with_file_name("backup");
    back_up(leader, &file).await;
    let dir = cluster.dir(0).with_file_name("restored");
    (cluster, file, dir)
}

#[tokio::test]
async fn a_restored_node_has_what_was_there_and_can_write() {
    let (cluster, file, dir) = backed_up().await;
    let before = cluster.node(0);
    before.linearize().await.unwrap();
    let epoch = before.head("pool").unwrap().epoch;
    put(cluster.node(cluster.leader().await), "later").await;

    restore(&file, &dir, 1).await.unwrap();
    let store = Store::open(OpenOptions::new(&dir)).await.unwrap();
    assert_eq!(names(&store), ["cart"]);
    assert_eq!(&store.blob(&Digest::of(b"v1")).unwrap()[..], b"v1");
    assert_eq!(store.cluster_id(), before.cluster_id());
    assert_eq!((store.epoch(), before.epoch()), (2, 1));
    assert!(
        store.head("pool").unwrap().epoch > epoch,
        "workers take it for newer"
    );
    put(&store, "desk").await;
    store.shutdown().await;
    drop(store);
    let store = Store::open(OpenOptions::new(&dir)).await.unwrap();
    assert_eq!(names(&store), ["cart", "desk"]);
    store.shutdown().await;
}

#[tokio::test]
async fn a_restored_node_grows_into_a_cluster_apart_from_the_old_one() {
    let (cluster, file, dir) = backed_up().await;
    restore(&file, &dir, 1).await.unwrap();
    let listen = || tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = listen().await.unwrap();
    let own = [listener.local_addr().unwrap().to_string()];
    let first = Store::open(options(&dir, listener, &own, &cluster.cuts, 5_000));
    let first = first.await.unwrap();
    first.ready(PATIENCE).await.unwrap();

    let refused = first.add_member(&cluster.addresses[1]).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Membership { .. }),
        "{refused}"
    );

    let listener = listen().await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let joining = options(
        &dir.with_file_name("second"),
        listener,
        &[],
        &cluster.cuts,
        5_000,
    );
    let adding = async {
        loop {
            match first.add_member(&address).await {
                Ok(id) => return id,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    };
    let (second, _) = tokio::join!(Store::open(joining), adding);
    let second = second.unwrap();
    eventually("the second node has what the first one restored", || {
        (names(&second) == ["cart"]).then_some(())
    })
    .await;
    assert_eq!(&second.blob(&Digest::of(b"v1")).unwrap()[..], b"v1");
    second.shutdown().await;
    first.shutdown().await;
}

#[tokio::test]
async fn a_directory_in_use_or_not_empty_is_refused() {
    let (cluster, file, dir) = backed_up().await;
    let in_use = restore(&file, &cluster.dir(0), 1).await.unwrap_err();
    assert!(matches!(in_use, StoreError::InUse { .. }), "{in_use}");
    restore(&file, &dir, 1).await.unwrap();
    let not_empty = restore(&file, &dir, 1).await.unwrap_err();
    assert!(
        matches!(not_empty, StoreError::NotEmpty { .. }),
        "{not_empty}"
    );
}

#[tokio::test]
async fn a_backup_that_is_cut_short_or_damaged_is_refused() {
    let (_cluster, file, dir) = backed_up().await;
    let whole = std::fs::read(&file).unwrap();
    let refused = async |bytes: &[u8], name: &str| {
        let broken = file.with_file_name(name);
        std::fs::write(&broken, bytes).unwrap();
        let error = restore(&broken, &dir.with_file_name(format!("to-{name}")), 1).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{name}: {error}"
        );
    };
    for cut in [0, 7, 20, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..cut], &format!("cut-{cut}")).await;
    }
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        refused(&bytes, &format!("flip-{at}")).await;
    }
}

//! What is acknowledged is everywhere.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_store::{Digest, Outcome};

use crate::commit::commit_command;
use crate::support::{Cluster, eventually, names, put, put_command};

#[tokio::test]
async fn a_committed_write_is_on_all_nodes() {
    let cluster = Cluster::of(3).await;
    put(cluster.node(cluster.leader().await), "cart").await;
    for at in 0..3 {
        cluster.node(at).linearize().await.unwrap();
        assert_eq!(names(cluster.node(at)), ["cart"]);
    }
}

#[tokio::test]
async fn the_bytes_of_parts_are_on_all_nodes() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.node(cluster.leader().await);
    let outcome = leader.propose(commit_command(0, b"v1")).await.unwrap();
    assert_eq!(outcome, Outcome::Committed { version: 1 });
    for at in 0..3 {
        let node = cluster.node(at);
        node.linearize().await.unwrap();
        assert_eq!(&node.blob(&Digest::of(b"v1")).unwrap()[..], b"v1");
    }
}

#[tokio::test]
async fn a_follower_passes_writes_on_and_gets_the_outcome() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.node((leader + 1) % 3);
    let outcome = follower.propose(put_command("cart", "one")).await.unwrap();
    let Outcome::Applied { revision, changed } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(changed, 1);
    follower.linearize().await.unwrap();
    assert_eq!(follower.revision(), revision);
    let refused = follower.propose(commit_command(7, b"v8")).await.unwrap();
    assert_eq!(refused, Outcome::ParentMismatch { head: 0 });
}

#[tokio::test]
async fn a_large_batch_and_many_small_ones_are_replicated() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.node(cluster.leader().await);
    let large = "x".repeat(1 << 20);
    let writes =
        (0..12).map(|number| leader.propose(put_command(&format!("l{number:02}"), &large)));
    for written in futures_util::future::join_all(writes).await {
        written.unwrap();
    }
    let small = (0..300).map(|number| leader.propose(put_command(&format!("s{number:03}"), "x")));
    for written in futures_util::future::join_all(small).await {
        written.unwrap();
    }
    let (_, wanted) = leader.objects(&Default::default());
    for at in 0..3 {
        let node = cluster.node(at);
        eventually("the node has all objects", || {
            (node.objects(&Default::default()).1 == wanted).then_some(())
        })
        .await;
    }
    assert_eq!(wanted.len(), 312);
}

#[tokio::test]
async fn a_follower_that_was_away_catches_up_by_the_log() {
    let mut cluster = Cluster::of(3).await;
    let away = (cluster.leader().await + 1) % 3;
    cluster.stop(away).await;
    put(cluster.node(cluster.leader().await), "cart").await;
    cluster.restart(away).await.unwrap();
    let node = cluster.node(away);
    node.ready(crate::support::PATIENCE).await.unwrap();
    assert_eq!(names(node), ["cart"]);
    assert_eq!(node.metrics().image_index, None);
}

#[tokio::test]
async fn a_follower_that_was_away_for_long_catches_up_by_an_image() {
    let mut cluster = Cluster::with_images(3, 20).await;
    let away = (cluster.leader().await + 1) % 3;
    cluster.stop(away).await;
    let leader = cluster.node(cluster.leader().await);
    for version in 0..4_u64 {
        let content = format!("v{}", version + 1);
        let commit = commit_command(version, content.as_bytes());
        leader.propose(commit).await.unwrap();
    }
    for number in 0..80 {
        put(leader, &format!("{number:02}")).await;
    }
    eventually("the log is purged past what the follower has", || {
        leader.metrics().purged_index.filter(|index| *index > 20)
    })
    .await;
    cluster.restart(away).await.unwrap();
    let node = cluster.node(away);
    node.ready(crate::support::PATIENCE).await.unwrap();
    assert_eq!(names(node), names(cluster.node(cluster.leader().await)));
    assert_eq!(&node.blob(&Digest::of(b"v4")).unwrap()[..], b"v4");
    assert!(node.metrics().image_index.is_some());

    // What came as an image is there after the next restart too.
    cluster.stop(away).await;
    cluster.restart(away).await.unwrap();
    let node = cluster.node(away);
    node.ready(crate::support::PATIENCE).await.unwrap();
    assert_eq!(names(node).len(), 80);
    assert_eq!(&node.blob(&Digest::of(b"v4")).unwrap()[..], b"v4");
}

#[tokio::test]
async fn an_image_with_a_damaged_part_is_not_taken_and_one_without_is() {
    let mut cluster = Cluster::with_images(3, 20).await;
    let away = (cluster.leader().await + 1) % 3;
    cluster.stop(away).await;
    let leads = cluster.leader().await;
    let leader = cluster.node(leads);
    leader.propose(commit_command(0, b"v1")).await.unwrap();
    for number in 0..80 {
        put(leader, &format!("{number:02}")).await;
    }
    eventually("the log is purged past what the follower has", || {
        leader.metrics().purged_index.filter(|index| *index > 20)
    })
    .await;
    // The leader has the part in its memory, so it does not notice.
    let packs = flip_last_bits(&cluster.dir(leads).join("blobs"));
    cluster.restart(away).await.unwrap();
    let incoming = cluster.dir(away).join("incoming");
    eventually("the image arrives", || incoming.exists().then_some(())).await;
    let node = cluster.node(away);
    assert!(node.blob(&Digest::of(b"v1")).is_err());

    for (path, bytes) in packs {
        fs::write(path, bytes).unwrap();
    }
    node.ready(crate::support::PATIENCE).await.unwrap();
    assert_eq!(names(node).len(), 80);
    assert_eq!(&node.blob(&Digest::of(b"v1")).unwrap()[..], b"v1");
}

/// Flips the last bit of every pack of a folder, and returns what they were before.
pub(crate) fn flip_last_bits(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut before = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        before.push((path.clone(), bytes.clone()));
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    }
    assert!(!before.is_empty());
    before
}

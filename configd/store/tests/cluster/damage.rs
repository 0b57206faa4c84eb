//! A node whose disk is not as it was written takes no part.

use std::{fs, path::Path};

use tidegate_store::StoreError;

use crate::support::{Cluster, names, put};

/// Flips a bit in the middle of every record of the log that holds this content.
fn damage(dir: &Path, content: &[u8]) {
    let path = dir.join("log/0000000000000001.log");
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = bytes
        .windows(content.len())
        .enumerate()
        .filter(|(_, window)| *window == content)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn a_node_with_a_damaged_disk_does_not_vote_and_says_so() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let damaged = (leader + 1) % 3;
    put(cluster.node(leader), "a-name-that-is-easy-to-find").await;
    cluster.node(damaged).linearize().await.unwrap();
    cluster.stop(damaged).await;
    damage(&cluster.dir(damaged), b"a-name-that-is-easy-to-find");

    let error = cluster.restart(damaged).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("is damaged"));

    // With one more node gone there is no quorum, because the damaged node is none of it.
    cluster.stop((leader + 2) % 3).await;
    let alone = cluster.node(leader);
    let read = alone.linearize().await;
    assert!(matches!(read, Err(StoreError::NoLeader { .. })), "{read:?}");
    assert_eq!(names(alone), ["a-name-that-is-easy-to-find"]);
}

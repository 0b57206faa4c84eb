//! What goes on when nodes stop.

use tidegate_store::StoreError;

use crate::support::{Cluster, PATIENCE, names, put, put_command};

#[tokio::test]
async fn writes_go_on_when_the_leader_stops() {
    let mut cluster = Cluster::of(3).await;
    let first = cluster.leader().await;
    put(cluster.node(first), "before").await;
    cluster.stop(first).await;
    let second = cluster.leader().await;
    put(cluster.node(second), "after").await;
    assert_eq!(names(cluster.node(second)), ["after", "before"]);

    cluster.restart(first).await.unwrap();
    cluster.node(first).ready(PATIENCE).await.unwrap();
    assert_eq!(names(cluster.node(first)), ["after", "before"]);
}

#[tokio::test]
async fn a_cluster_of_five_survives_two_nodes() {
    let mut cluster = Cluster::of(5).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.stop(leader).await;
    }
    let leader = cluster.leader().await;
    put(cluster.node(leader), "cart").await;
}

#[tokio::test]
async fn a_whole_cluster_comes_back_with_what_it_acknowledged() {
    let mut cluster = Cluster::of(3).await;
    put(cluster.node(cluster.leader().await), "cart").await;
    for at in 0..3 {
        cluster.stop(at).await;
    }
    for at in 0..3 {
        cluster.restart(at).await.unwrap();
    }
    for at in 0..3 {
        cluster.node(at).ready(PATIENCE).await.unwrap();
        assert_eq!(names(cluster.node(at)), ["cart"]);
    }
}

#[tokio::test]
async fn the_last_node_of_three_writes_nothing_and_says_that_nobody_leads() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let last = (leader + 1) % 3;
    for at in (0..3).filter(|at| *at != last) {
        cluster.stop(at).await;
    }
    let written = cluster.node(last).propose(put_command("cart", "one")).await;
    assert!(
        matches!(written, Err(StoreError::NoLeader { .. })),
        "{written:?}"
    );
    let read = cluster.node(last).linearize().await;
    assert!(matches!(read, Err(StoreError::NoLeader { .. })), "{read:?}");
    assert!(names(cluster.node(last)).is_empty());
}

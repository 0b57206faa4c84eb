//! What a cut network does.

use tidegate_store::StoreError;

use crate::support::{Cluster, PATIENCE, eventually, names, put, put_command};

#[tokio::test]
async fn a_leader_that_is_cut_off_neither_writes_nor_answers_linearizable_reads() {
    let cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    put(cluster.node(old), "before").await;
    cluster.cuts.isolate(&cluster.addresses[old]);
    let new = cluster.leader_but(old).await;
    put(cluster.node(new), "after").await;

    let written = cluster.node(old).propose(put_command("lost", "x")).await;
    assert!(
        matches!(written, Err(StoreError::NoLeader { .. })),
        "{written:?}"
    );
    let read = cluster.node(old).linearize().await;
    assert!(matches!(read, Err(StoreError::NoLeader { .. })), "{read:?}");

    cluster.cuts.heal();
    cluster.node(old).ready(PATIENCE).await.unwrap();
    for at in 0..3 {
        cluster.node(at).linearize().await.unwrap();
        assert_eq!(names(cluster.node(at)), ["after", "before"]);
    }
}

#[tokio::test]
async fn a_follower_that_is_cut_off_does_not_unseat_the_leader_when_it_returns() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let term = cluster.node(leader).metrics().term;
    cluster.cuts.isolate(&cluster.addresses[follower]);
    // Long enough for several elections that it cannot win.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    put(cluster.node(leader), "cart").await;
    cluster.cuts.heal();
    let node = cluster.node(follower);
    eventually("the follower has caught up", || {
        (names(node) == ["cart"]).then_some(())
    })
    .await;
    // Without the question before the vote its terms would have grown, and the leader would have had to give way.
    assert_eq!(node.metrics().term, cluster.node(leader).metrics().term);
    assert_eq!(cluster.node(leader).metrics().term, term);
}

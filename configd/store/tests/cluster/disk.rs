//! What becomes of writes when disks fill up.

use std::time::Duration;

use tidegate_store::StoreError;

use crate::support::{Cluster, PATIENCE, eventually, names, put, put_command};

const PAUSE: Duration = Duration::from_millis(50);

#[tokio::test]
async fn one_full_disk_of_three_stops_nobody_and_takes_no_harm() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let full = (leader + 1) % 3;
    cluster.stop(full).await;
    cluster.reserves.insert(full, u64::MAX);
    cluster.restart(full).await.unwrap();
    put(cluster.node(leader), "a").await;
    put(cluster.node(leader), "b").await;
    eventually("the leader knows whose disk is full", || {
        let members = cluster.node(leader).members();
        let id = cluster.node(full).node_id();
        let member = members.iter().find(|member| member.id == id)?;
        member.disk.filter(|disk| disk.is_short())
    })
    .await;
    assert!(names(cluster.node(full)).is_empty(), "it takes no entries");

    cluster.stop(full).await;
    cluster.reserves.clear();
    cluster.restart(full).await.unwrap();
    eventually("it catches up", || {
        (names(cluster.node(full)) == ["a", "b"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_majority_with_space_writes_are_refused_before_they_begin() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    put(cluster.node(leader), "before").await;
    let full = [(leader + 1) % 3, (leader + 2) % 3];
    for at in full {
        cluster.stop(at).await;
        cluster.reserves.insert(at, u64::MAX);
        cluster.restart(at).await.unwrap();
        cluster.node(at).ready(PATIENCE).await.unwrap();
    }
    let leader = cluster.leader().await;
    eventually("the leader knows whose disks are full", || {
        let members = cluster.node(leader).members();
        let short = members
            .iter()
            .filter(|member| member.disk.is_some_and(|disk| disk.is_short()));
        (short.count() == 2).then_some(())
    })
    .await;
    let refused = cluster
        .node(leader)
        .propose(put_command("during", "x"))
        .await;
    let is_refusal = matches!(
        refused,
        Err(StoreError::VotersFull { .. }
            | StoreError::DiskFull { .. }
            | StoreError::NotWritten { .. })
    );
    assert!(is_refusal, "{refused:?}");
    assert_eq!(names(cluster.node(leader)), ["before"], "reads go on");

    for at in full {
        cluster.stop(at).await;
        cluster.reserves.clear();
        cluster.restart(at).await.unwrap();
    }
    let writing = async {
        // The leader looks at disks now and then.
        while let Err(refusal) = cluster
            .node(leader)
            .propose(put_command("after", "x"))
            .await
        {
            assert!(!matches!(refusal, StoreError::Stopped { .. }), "{refusal}");
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, writing).await.unwrap();
    assert!(names(cluster.node(leader)).contains(&"after".to_owned()));
}

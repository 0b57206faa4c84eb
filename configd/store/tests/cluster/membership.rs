//! Nodes come and go.

use tidegate_store::{Role, Store, StoreError};
use tokio::net::TcpListener;

use crate::support::{Cluster, PATIENCE, eventually, names, options, put};

/// A node that waits for a place, and its peer address.
pub(crate) async fn newcomer(
    cluster: &Cluster,
    name: &str,
) -> (String, tokio::task::JoinHandle<Result<Store, StoreError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let dir = cluster.dir(0).with_file_name(name);
    let options = options(&dir, listener, &[], &cluster.cuts, 5_000);
    #[allow(clippy::disallowed_methods, reason = "the test waits for it")]
    let opening = tokio::spawn(Store::open(options));
    (address, opening)
}

fn role(of: &Store, id: u64) -> Option<Role> {
    let members = of.members();
    let found = members.iter().find(|known| known.id == id);
    found.map(|known| known.role)
}

#[tokio::test]
async fn a_node_that_is_added_catches_up_and_then_votes() {
    let cluster = Cluster::of(1).await;
    let leader = cluster.node(0);
    put(leader, "cart").await;
    let (address, opening) = newcomer(&cluster, "new").await;
    let id = eventually_added(leader, &address).await;
    assert!(id > 10, "ids of later nodes come from the log");
    let new = opening.await.unwrap().unwrap();
    assert_eq!(new.node_id(), id);
    eventually("the new node votes", || {
        (role(leader, id) == Some(Role::Voter)).then_some(())
    })
    .await;
    new.ready(PATIENCE).await.unwrap();
    assert_eq!(names(&new), ["cart"]);
    put(&new, "desk").await;
    assert_eq!(names(&new), ["cart", "desk"]);
    new.shutdown().await;
}

pub(crate) async fn eventually_added(leader: &Store, address: &str) -> u64 {
    for _ in 0..200 {
        match leader.add_member(address).await {
            Ok(id) => return id,
            Err(StoreError::Membership { .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the node at {address} was never added");
}

#[tokio::test]
async fn a_lost_node_is_replaced_by_one_with_another_id() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let lost = (leader + 1) % 3;
    let lost_id = cluster.node(lost).node_id();
    cluster.stop(lost).await;
    let leader = cluster.node(leader);
    leader.remove_member(lost_id).await.unwrap();
    let (address, opening) = newcomer(&cluster, "new").await;
    let id = eventually_added(leader, &address).await;
    assert_ne!(id, lost_id);
    let new = opening.await.unwrap().unwrap();
    eventually("the new node votes", || {
        (role(leader, id) == Some(Role::Voter)).then_some(())
    })
    .await;
    assert_eq!(leader.members().len(), 3);
    new.shutdown().await;
}

#[tokio::test]
async fn a_removed_node_says_so_and_is_not_let_in_again() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let gone = (leader + 1) % 3;
    let removed = cluster.node(gone);
    let leader = cluster.node(leader);
    leader.remove_member(removed.node_id()).await.unwrap();
    eventually("the node knows that it was removed", || {
        removed.is_removed().then_some(())
    })
    .await;
    let written = removed.linearize().await;
    let Err(error @ StoreError::Removed { .. }) = written else {
        panic!("{written:?}");
    };
    assert!(error.to_string().contains("was removed"), "{error}");
    let again = leader
        .add_member(&cluster.addresses[gone])
        .await
        .unwrap_err();
    assert!(again.to_string().contains("never used again"), "{again}");
    put(leader, "cart").await;
}

#[tokio::test]
async fn a_leader_that_removes_itself_hands_over() {
    let cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    let id = cluster.node(old).node_id();
    cluster.node(old).remove_member(id).await.unwrap();
    let new = cluster.leader_but(old).await;
    put(cluster.node(new), "cart").await;
    assert_eq!(cluster.node(new).members().len(), 2);
}

#[tokio::test]
async fn leadership_goes_where_it_is_sent() {
    let cluster = Cluster::of(3).await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let next = (leader + 1) % 3;
        let id = cluster.node(next).node_id();
        cluster.node(leader).transfer_leadership(id).await.unwrap();
        eventually("the successor leads", || {
            cluster.node(next).is_leader().then_some(())
        })
        .await;
    }
    put(cluster.node(cluster.leader().await), "cart").await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let store = cluster.node(leader);
    let before = store.members().len();
    let refusals = [
        store.remove_member(77).await.unwrap_err(),
        store.transfer_leadership(77).await.unwrap_err(),
        store.add_member("127.0.0.1:1").await.unwrap_err(),
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, StoreError::Membership { .. }),
            "{refusal}"
        );
    }
    let follower = cluster.node((leader + 1) % 3);
    let refused = follower.remove_member(store.node_id()).await;
    assert!(
        matches!(refused, Err(StoreError::NoLeader { .. })),
        "{refused:?}"
    );
    assert_eq!(store.members().len(), before);
}

#[tokio::test]
async fn the_only_voter_is_not_removed() {
    let cluster = Cluster::of(1).await;
    let refused = cluster.node(0).remove_member(1).await.unwrap_err();
    assert!(refused.to_string().contains("only voter"), "{refused}");
}

#[tokio::test]
async fn a_node_that_was_alone_becomes_the_first_of_a_cluster() {
    let mut cluster = Cluster::of(1).await;
    cluster.stop(0).await;
    std::fs::remove_dir_all(cluster.dir(0)).unwrap();
    let alone = Store::open(tidegate_store::OpenOptions::new(cluster.dir(0)))
        .await
        .unwrap();
    put(&alone, "cart").await;
    alone.shutdown().await;
    drop(alone);
    cluster.restart(0).await.unwrap();
    let first = cluster.node(0);
    eventually("the first node is known by its address", || {
        let members = first.members();
        let known = members.first()?;
        (known.member.peer_address == cluster.addresses[0]).then_some(())
    })
    .await;
    let (address, opening) = newcomer(&cluster, "new").await;
    eventually_added(first, &address).await;
    let new = opening.await.unwrap().unwrap();
    new.ready(PATIENCE).await.unwrap();
    assert_eq!(names(&new), ["cart"]);
    new.shutdown().await;
}

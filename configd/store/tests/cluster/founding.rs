//! How a cluster comes to be, and who is not let in.

use std::sync::Arc;

use tidegate_proto::raft::v1::{
    AppendRequest, Ballot, Envelope, IdentifyRequest, VoteRequest,
    peer_service_client::PeerServiceClient,
};
use tidegate_store::{
    ClusterOptions, Dial, Incoming, Member, OpenOptions, PlainDial, Start, Store, StoreError,
};
use tokio::net::TcpListener;
use tonic::Code;

use crate::support::{Cluster, put};

#[tokio::test]
async fn founders_get_one_cluster_and_ids_in_the_order_of_the_list() {
    let cluster = Cluster::of(3).await;
    let ids: Vec<u64> = (0..3).map(|at| cluster.node(at).node_id()).collect();
    assert_eq!(ids, [1, 2, 3]);
    let same = |at: usize| cluster.node(at).cluster_id() == cluster.node(0).cluster_id();
    assert!((0..3).all(same));
}

#[tokio::test]
async fn a_cluster_of_one_can_write() {
    let cluster = Cluster::of(1).await;
    put(cluster.node(0), "cart").await;
}

#[tokio::test]
async fn a_founder_that_lost_its_data_does_not_get_its_id_back() {
    for lost in 0..2 {
        let mut cluster = Cluster::of(3).await;
        put(cluster.node(cluster.leader().await), "cart").await;
        cluster.stop(lost).await;
        std::fs::remove_dir_all(cluster.dir(lost)).unwrap();
        let error = cluster.restart(lost).await.unwrap_err();
        assert!(matches!(error, StoreError::ClusterExists { .. }), "{error}");
        assert!(error.to_string().contains("tidegate cluster remove"));
        put(cluster.node(cluster.leader().await), "desk").await;
    }
}

#[tokio::test]
async fn founders_that_do_not_fit_are_refused() {
    for (others, says) in [(1, "1, 3 or 5 voters"), (3, "is not among the first nodes")] {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let mut founders: Vec<String> =
            (0..others).map(|port| format!("10.0.0.1:{port}")).collect();
        if others == 1 {
            founders.push(own.clone());
        }
        let member = Member {
            name: "a".to_owned(),
            peer_address: own,
            ..Member::default()
        };
        let cluster = ClusterOptions {
            member,
            incoming: Incoming::plain(listener),
            dial: Arc::new(PlainDial),
            start: Start::Found(founders),
        };
        let options = OpenOptions {
            cluster: Some(cluster),
            ..OpenOptions::new(dir.path())
        };
        let error = Store::open(options).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn messages_of_another_cluster_or_epoch_are_refused() {
    let cluster = Cluster::of(1).await;
    let channel = PlainDial.channel(&cluster.addresses[0]).unwrap();
    let mut client = PeerServiceClient::new(channel);
    let known = client
        .identify(IdentifyRequest {})
        .await
        .unwrap()
        .into_inner();
    let right = Envelope {
        cluster_id: known.cluster_id,
        epoch: known.epoch,
        from: 9,
        to: known.node_id,
        ..Envelope::default()
    };
    let foreign = Envelope {
        cluster_id: "0".repeat(32),
        ..right.clone()
    };
    let restored = Envelope {
        epoch: right.epoch + 1,
        ..right.clone()
    };
    let other = Envelope {
        to: right.to + 1,
        ..right
    };
    let ballot = Some(Ballot {
        term: 1_000,
        node: 9,
        committed: true,
    });
    for envelope in [Some(foreign), Some(restored), Some(other), None] {
        let append = AppendRequest {
            envelope: envelope.clone(),
            ballot,
            ..AppendRequest::default()
        };
        let refused = client.append(append).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let vote = VoteRequest {
            envelope,
            ballot,
            ..VoteRequest::default()
        };
        let refused = client.vote(vote).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    put(cluster.node(0), "cart").await;
}

//! Objects go in at any configd, snapshots and statuses come out of any.

use tidegate_proto::objects::v1::ListObjectsRequest;
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{
    ListSnapshotsRequest, ListWorkersRequest, subscribe_response::Message,
};
use tidegate_proto::statuses::v1::ListStatusesRequest;
use tidegate_proto::statuses::v1::status_service_client::StatusServiceClient;

use crate::support::{Cluster, eventually, objects, route, subscribe};

/// The newest snapshot that a configd has was compiled from this revision or a later one.
async fn published(cluster: &Cluster, at: usize, revision: u64) -> Option<u64> {
    let mut client = SnapshotServiceClient::new(cluster.channel(at));
    let listed = client.list_snapshots(ListSnapshotsRequest::default()).await;
    let newest = listed.ok()?.into_inner().snapshots.into_iter().next()?;
    (newest.revision >= revision).then(|| newest.id.unwrap().version)
}

async fn compiled(cluster: &Cluster, at: usize, revision: u64) -> Option<()> {
    let mut client = StatusServiceClient::new(cluster.channel(at));
    let board = client.list_statuses(ListStatusesRequest::default()).await;
    let board = board.ok()?.into_inner();
    (board.revision >= revision && !board.statuses.is_empty()).then_some(())
}

#[tokio::test]
async fn what_goes_in_at_one_comes_out_at_all() {
    let cluster = Cluster::start().await;
    for at in 0..3 {
        let written = [objects(), vec![route(&format!("r{at}"))]].concat();
        let revision = cluster.apply(at, &written).await;
        for other in 0..3 {
            eventually("every configd has the snapshot", || {
                published(&cluster, other, revision)
            })
            .await;
            eventually("every configd has the statuses", || {
                compiled(&cluster, other, revision)
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_cluster_in_plaintext_works_as_well() {
    let cluster = Cluster::start_in_plaintext().await;
    for at in 0..3 {
        let revision = cluster.apply(at, &objects()).await;
        eventually("the statuses", || compiled(&cluster, at, revision)).await;
    }
}

#[tokio::test]
async fn who_wrote_at_one_reads_it_at_another() {
    let cluster = Cluster::start().await;
    for round in 0..6 {
        cluster
            .apply(round % 3, &[route(&format!("r{round}"))])
            .await;
        let mut client = ObjectServiceClient::new(cluster.channel((round + 1) % 3));
        let listed = client.list_objects(ListObjectsRequest::default()).await;
        assert_eq!(listed.unwrap().into_inner().objects.len(), round + 1);
    }
}

#[tokio::test]
async fn a_worker_of_any_configd_gets_snapshots_and_is_known_to_all() {
    let cluster = Cluster::start().await;
    cluster.apply(0, &objects()).await;
    let mut streams = Vec::new();
    for at in 0..3 {
        let (requests, mut answers) =
            subscribe(cluster.worker_channel(at), &format!("w{at}")).await;
        loop {
            match answers.message().await.unwrap().unwrap().message {
                Some(Message::Update(update)) if update.last => break,
                _ => {}
            }
        }
        streams.push((requests, answers));
    }
    for at in 0..3 {
        eventually("every configd lists all workers", || async {
            let mut client = SnapshotServiceClient::new(cluster.channel(at));
            let listed = client.list_workers(ListWorkersRequest::default()).await;
            (listed.ok()?.into_inner().workers.len() == 3).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn publishing_goes_on_wherever_a_configd_stops() {
    for stopped in 0..3 {
        let mut cluster = Cluster::start().await;
        let first = cluster.apply(0, &objects()).await;
        eventually("the first snapshot", || published(&cluster, 0, first)).await;
        cluster.stop(stopped).await;
        let left = (stopped + 1) % 3;
        let second = cluster.apply(left, &[route("late")]).await;
        eventually("the snapshot after that", || {
            published(&cluster, left, second)
        })
        .await;
        eventually("the statuses after that", || {
            compiled(&cluster, left, second)
        })
        .await;
    }
}

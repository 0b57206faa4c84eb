//! Sources at a cluster: a session holds at every replica, and under the next leader.

use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyRequest, ApplyResponse, WatchObjectsRequest};
use tidegate_proto::sources::v1::OpenSessionRequest;
use tidegate_proto::sources::v1::source_service_client::SourceServiceClient;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{Cluster, SOURCE, eventually, put, route};

async fn open(cluster: &Cluster, at: usize) -> u64 {
    let request = OpenSessionRequest {
        source: SOURCE.to_owned(),
        ..OpenSessionRequest::default()
    };
    let mut client = SourceServiceClient::new(cluster.channel(at));
    let opened = client.open_session(request).await;
    opened.unwrap().into_inner().session
}

async fn write(
    cluster: &Cluster,
    at: usize,
    (session, sequence): (u64, u64),
    name: &str,
) -> Result<ApplyResponse, Status> {
    let request = ApplyRequest {
        source: SOURCE.to_owned(),
        operations: vec![put(&route(name))],
        session,
        sequence,
        ..ApplyRequest::default()
    };
    let mut client = ObjectServiceClient::new(cluster.channel(at));
    let written = client.apply(request).await;
    written.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_session_holds_at_every_replica_and_under_the_next_leader() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let old = open(&cluster, one).await;
    write(&cluster, one, (old, 1), "a").await.unwrap();
    let new = open(&cluster, other).await;
    let first = write(&cluster, other, (new, 1), "b").await.unwrap();
    let fenced = write(&cluster, one, (old, 2), "c").await.unwrap_err();
    assert_eq!(fenced.code(), Code::Aborted, "{fenced:?}");

    cluster.stop(leader).await;
    // A replica that does not know yet who leads says so; a repeated write is harmless.
    let again = eventually("the write is answered again", || async {
        write(&cluster, one, (new, 1), "b").await.ok()
    })
    .await;
    assert_eq!((again.replayed, again.revision), (true, first.revision));
    let fenced = eventually("the leader judges", || async {
        let status = write(&cluster, one, (old, 2), "c").await.err()?;
        status.get_details_error_info()
    })
    .await;
    assert_eq!(fenced.reason, "SESSION_FENCED");
    write(&cluster, other, (new, 2), "c").await.unwrap();
}

#[tokio::test]
async fn a_watch_goes_on_at_another_replica() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let seen = cluster.apply(leader, &[route("a")]).await;
    let missed = cluster.apply(leader, &[route("b")]).await;
    for at in 0..3 {
        let request = WatchObjectsRequest {
            after_revision: Some(seen),
            ..WatchObjectsRequest::default()
        };
        let mut client = ObjectServiceClient::new(cluster.channel(at));
        let mut watch = client.watch_objects(request).await.unwrap().into_inner();
        let next = watch.message().await.unwrap().unwrap();
        assert_eq!((next.events.len(), next.revision), (1, missed));
    }
}

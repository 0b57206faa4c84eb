//! What a configd that does not lead passes on: the leader judges and records who has sent it.

use std::time::Duration;

use tidegate_configd::audit::{self, Record};
use tidegate_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use tidegate_proto::cluster::v1::{ListMembersRequest, Role, TransferLeadershipRequest};
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyRequest, WaitFor};
use tidegate_proto::plans::v1::plan_service_client::PlanServiceClient;
use tidegate_proto::plans::v1::{ApplyPlanRequest, CreatePlanRequest, GetPlanRequest};
use tidegate_proto::snapshots::v1::WaitRequest;
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::statuses::v1::WatchStatusesRequest;
use tidegate_proto::statuses::v1::status_service_client::StatusServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request};

use crate::support::{Cluster, SOURCE, eventually, objects, put, route};

fn batch(source: &str) -> ApplyRequest {
    ApplyRequest {
        source: source.to_owned(),
        operations: vec![put(&route("cart"))],
        reason: "a test".to_owned(),
        ..ApplyRequest::default()
    }
}

/// A request that claims to come from somebody else.
fn claiming<T>(message: T, id: &str) -> Request<T> {
    let mut request = Request::new(message);
    let id: MetadataValue<Ascii> = id.parse().unwrap();
    request.metadata_mut().insert("tidegate-caller", id);
    request
}

fn records(cluster: &Cluster, at: usize) -> Vec<Record> {
    let mut records = vec![];
    let folder = cluster.dir(at).join(audit::FOLDER);
    audit::read(&folder, &mut |record| records.push(record)).unwrap();
    records
}

fn writes_of<'r>(records: &'r [Record], caller: &str) -> Vec<&'r Record> {
    let is_theirs = |record: &&Record| record.event.caller.ends_with(caller);
    records.iter().filter(is_theirs).collect()
}

#[tokio::test]
async fn the_leader_records_who_has_sent_what_another_passed_on() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let mut client = ObjectServiceClient::new(cluster.channel_as(follower, "automation/write/ci"));
    let revision = client
        .apply(batch(SOURCE))
        .await
        .unwrap()
        .into_inner()
        .revision;
    for at in 0..3 {
        cluster.stop(at).await;
    }
    let recorded = records(&cluster, leader);
    let writes = writes_of(&recorded, "automation/write/ci");
    let [write] = &writes[..] else {
        panic!("one record: {recorded:#?}");
    };
    assert_eq!(
        write.event.caller,
        "spiffe://tidegate.test/automation/write/ci"
    );
    assert_eq!(write.event.changes, ["put HTTPRoute shop/cart"]);
    assert_eq!(write.event.revision, revision);
    assert!(records(&cluster, follower).is_empty(), "the leader has it");
}

#[tokio::test]
async fn the_leader_judges_who_has_sent_what_another_passed_on() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    for at in [leader, (leader + 1) % 3] {
        let mut operator = ObjectServiceClient::new(cluster.channel_as(at, "operator/eu-1"));
        let own = operator.apply(batch("eu-1")).await;
        // Its objects are of another source than the batch.
        assert_eq!(own.unwrap_err().code(), Code::InvalidArgument);
        let other = operator.apply(batch(SOURCE)).await;
        assert_eq!(other.unwrap_err().code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn nobody_but_a_configd_speaks_for_others() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let admin = "spiffe://tidegate.test/automation/admin/root";
    for at in [leader, (leader + 1) % 3] {
        for principal in ["automation/read/grafana", "worker/default", "operator/eu-1"] {
            let mut client = ObjectServiceClient::new(cluster.channel_as(at, principal));
            let refused = client.apply(claiming(batch(SOURCE), admin)).await;
            assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
        }
        // A configd is believed, within its trust domain.
        let mut peer = ObjectServiceClient::new(cluster.channel_as(at, "configd/n9"));
        let refused = peer.apply(batch(SOURCE)).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
        let foreign = "spiffe://other.test/automation/admin/root";
        let refused = peer.apply(claiming(batch(SOURCE), foreign)).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
        peer.apply(claiming(batch(SOURCE), admin)).await.unwrap();
    }
}

#[tokio::test]
async fn a_plan_made_at_one_is_looked_at_and_applied_at_others() {
    let cluster = Cluster::start().await;
    cluster.apply(0, &objects()).await;
    let leader = cluster.leader().await;
    let plans = |at: usize| PlanServiceClient::new(cluster.channel(at));
    let request = CreatePlanRequest {
        source: SOURCE.to_owned(),
        operations: vec![put(&route("basket"))],
        ..CreatePlanRequest::default()
    };
    let made = plans((leader + 1) % 3).create_plan(request).await.unwrap();
    let id = made.into_inner().plan.unwrap().info.unwrap().id;
    let seen = GetPlanRequest { id: id.clone() };
    plans((leader + 2) % 3).get_plan(seen).await.unwrap();
    let apply = ApplyPlanRequest {
        id,
        wait_for: WaitFor::Compiled.into(),
        ..ApplyPlanRequest::default()
    };
    let applied = plans((leader + 2) % 3).apply_plan(apply).await.unwrap();
    assert_eq!(applied.into_inner().changed, 1);
}

#[tokio::test]
async fn a_watch_of_the_leaders_statuses_ends_with_it_and_begins_again_elsewhere() {
    let mut cluster = Cluster::start().await;
    cluster.apply(0, &objects()).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let mut client = StatusServiceClient::new(cluster.channel(follower));
    let request = WatchStatusesRequest::default();
    let mut watch = client.watch_statuses(request).await.unwrap().into_inner();
    while !watch.message().await.unwrap().unwrap().synced {}
    cluster.stop(leader).await;
    // It ends, with or without a status, instead of waiting for ever.
    while let Ok(Some(_)) = watch.message().await {}
    eventually("another watch begins", || async {
        let request = WatchStatusesRequest::default();
        let mut client = StatusServiceClient::new(cluster.channel(follower));
        let mut watch = client.watch_statuses(request).await.ok()?.into_inner();
        let first = watch.message().await.ok()??;
        (!first.statuses.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_wait_ends_when_another_configd_leads() {
    let cluster = Cluster::start().await;
    cluster.apply(0, &objects()).await;
    let leader = cluster.leader().await;
    let mut waiting = SnapshotServiceClient::new(cluster.channel((leader + 1) % 3));
    let never = WaitRequest {
        revision: u64::MAX,
        wait_for: WaitFor::Compiled.into(),
        timeout_ms: 600_000,
        ..WaitRequest::default()
    };
    // Again and again: a transfer before the wait has begun at the leader ends nothing.
    let transfers = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            transfer(&cluster).await;
        }
    };
    let waited = tokio::select! {
        waited = waiting.wait(never) => waited,
        () = transfers => unreachable!("transfers go on"),
    };
    assert_eq!(waited.unwrap_err().code(), Code::Unavailable);
}

/// Lets another voter lead.
async fn transfer(cluster: &Cluster) {
    let leader = cluster.leader().await;
    let mut service = ClusterServiceClient::new(cluster.channel(leader));
    let listed = service.list_members(ListMembersRequest {}).await.unwrap();
    let mut members = listed.into_inner().members.into_iter();
    let next = members.find(|member| member.role() == Role::Voter).unwrap();
    // It may have been deposed meanwhile.
    let _ = service
        .transfer_leadership(TransferLeadershipRequest { id: next.id })
        .await;
}

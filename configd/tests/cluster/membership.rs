//! Configds come and go, through the service that people use.

use tidegate_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use tidegate_proto::cluster::v1::{
    AddMemberRequest, BackupRequest, GetStatusRequest, ListMembersRequest, Member,
    RemoveMemberRequest, Role, TransferLeadershipRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::support::{Cluster, eventually, objects, route};

fn service(cluster: &Cluster, at: usize) -> ClusterServiceClient<Channel> {
    ClusterServiceClient::new(cluster.channel(at))
}

async fn members(cluster: &Cluster, at: usize) -> Option<Vec<Member>> {
    let listed = service(cluster, at)
        .list_members(ListMembersRequest {})
        .await;
    Some(listed.ok()?.into_inner().members)
}

async fn member(cluster: &Cluster, at: usize, name: &str) -> Option<Member> {
    let members = members(cluster, at).await?;
    members.into_iter().find(|member| member.name == name)
}

#[tokio::test]
async fn every_configd_lists_all_as_the_leader_sees_them() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    for at in 0..3 {
        let members = members(&cluster, at).await.unwrap();
        assert_eq!(members.len(), 3);
        assert!(
            members.iter().all(|member| member.lag.is_some()),
            "{members:?}"
        );
        let leads = |member: &&Member| member.role() == Role::Leader;
        let found = members.iter().find(leads).unwrap();
        assert_eq!(found.name, format!("configd-{leader}"));
    }
    let mut request = Request::new(ListMembersRequest {});
    request
        .metadata_mut()
        .insert("tidegate-local", "1".parse().unwrap());
    let local = service(&cluster, (leader + 1) % 3)
        .list_members(request)
        .await;
    let local = local.unwrap().into_inner().members;
    assert!(
        local.iter().all(|member| member.lag.is_none()),
        "a follower does not know"
    );
}

#[tokio::test]
async fn a_configd_that_asks_gets_a_place_votes_and_takes_writes() {
    let mut cluster = Cluster::start().await;
    cluster.apply(0, &objects()).await;
    let new = cluster.join().await;
    eventually("it votes", || async {
        let joined = member(&cluster, 0, "configd-3").await?;
        (joined.role() == Role::Voter).then_some(())
    })
    .await;
    cluster.apply(new, &[route("late")]).await;
}

#[tokio::test]
async fn a_configd_that_is_removed_says_so() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let (gone, asked) = ((leader + 1) % 3, (leader + 2) % 3);
    let name = format!("configd-{gone}");
    let id = member(&cluster, asked, &name).await.unwrap().id;
    // Through one that does not lead.
    let mut client = service(&cluster, asked);
    client
        .remove_member(RemoveMemberRequest { id })
        .await
        .unwrap();
    assert!(member(&cluster, asked, &name).await.is_none());
    eventually("it knows", || async {
        let status = service(&cluster, gone)
            .get_status(GetStatusRequest {})
            .await;
        (status.ok()?.into_inner().role() == Role::NoMember).then_some(())
    })
    .await;
    cluster.apply(asked, &[route("late")]).await;
}

#[tokio::test]
async fn leadership_is_handed_to_whom_one_names() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let next = (leader + 1) % 3;
    let name = format!("configd-{next}");
    let id = member(&cluster, 0, &name).await.unwrap().id;
    let request = TransferLeadershipRequest { id };
    service(&cluster, (leader + 2) % 3)
        .transfer_leadership(request)
        .await
        .unwrap();
    assert_eq!(cluster.leader().await, next);
    cluster.apply(leader, &objects()).await;
}

#[tokio::test]
async fn a_leader_that_stops_hands_over_first() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    cluster.stop(leader).await;
    // It has waited for its successor, so that one knows already.
    let mut led = vec![];
    for at in (0..3).filter(|at| *at != leader) {
        let status = service(&cluster, at).get_status(GetStatusRequest {}).await;
        led.push(status.unwrap().into_inner().role());
    }
    assert!(led.contains(&Role::Leader), "{led:?}");
}

#[tokio::test]
async fn only_admins_change_the_cluster_and_take_backups() {
    let cluster = Cluster::start().await;
    for principal in ["automation/write/ci", "operator/eu-1", "worker/default"] {
        let channel = cluster.channel_as(0, principal);
        let mut client = ClusterServiceClient::new(channel);
        let request = RemoveMemberRequest { id: 1 };
        let refused = client.remove_member(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        let refused = client.backup(BackupRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        let request = AddMemberRequest::default();
        let refused = client.add_member(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn a_backup_of_any_of_them_is_whole() {
    let cluster = Cluster::start().await;
    cluster.apply(0, &objects()).await;
    for at in 0..3 {
        let answers = service(&cluster, at).backup(BackupRequest::default()).await;
        let mut answers = answers.unwrap().into_inner();
        let mut bytes = vec![];
        while let Some(answer) = answers.message().await.unwrap() {
            bytes.extend_from_slice(&answer.content);
        }
        let folder = tempfile::tempdir().unwrap();
        let (file, dir) = (folder.path().join("backup"), folder.path().join("data"));
        std::fs::write(&file, bytes).unwrap();
        tidegate_store::restore(&file, &dir, 1).await.unwrap();
    }
}

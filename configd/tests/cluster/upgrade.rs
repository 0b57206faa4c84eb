//! A new release comes to one configd after the other, while objects come in and workers are served.

use tidegate_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use tidegate_proto::cluster::v1::{GetStatusRequest, ListMembersRequest};
use tidegate_proto::rollouts::v1::rollout_service_client::RolloutServiceClient;
use tidegate_proto::rollouts::v1::{RolloutStep, StartRolloutRequest};
use tidegate_proto::snapshots::v1::subscribe_response::Message;
use tidegate_store::HIGHEST_LEVEL;
use tonic::{Code, Status};

use crate::support::{Cluster, POOL, eventually, objects, route, subscribe};

const OLD: u32 = HIGHEST_LEVEL - 1;

/// What it takes part in and what it knows.
async fn levels(cluster: &Cluster, at: usize) -> Option<(u32, u32)> {
    let mut client = ClusterServiceClient::new(cluster.channel(at));
    let status = client.get_status(GetStatusRequest {}).await.ok()?;
    let status = status.into_inner();
    Some((status.level, status.highest_level))
}

/// What the log says that each knows.
async fn known(cluster: &Cluster, at: usize) -> Option<Vec<u32>> {
    let mut client = ClusterServiceClient::new(cluster.channel(at));
    let listed = client.list_members(ListMembersRequest {}).await.ok()?;
    let members = listed.into_inner().members.into_iter();
    Some(members.map(|member| member.level).collect())
}

/// A rollout with a step that the release of before does not know.
async fn start_with_one_worker(cluster: &Cluster, at: usize) -> Result<(), Status> {
    let mut rollouts = RolloutServiceClient::new(cluster.channel(at));
    let step = RolloutStep {
        workers: 1,
        bake_ms: 1_000,
        ..RolloutStep::default()
    };
    let request = StartRolloutRequest {
        pool: POOL.to_owned(),
        steps: vec![step],
        ..StartRolloutRequest::default()
    };
    rollouts.start_rollout(request).await.map(drop)
}

/// A worker that begins with nothing gets a snapshot of this revision or a later one from each that runs.
async fn serves_workers(cluster: &Cluster, revision: u64) {
    for at in 0..3 {
        eventually("a worker gets what was written last", || async {
            let (_requests, mut answers) = subscribe(cluster.worker_channel(at), "w").await;
            loop {
                match answers.message().await.ok()??.message {
                    Some(Message::Update(update)) if update.last => {
                        let found = update.info?.revision;
                        return (found >= revision).then_some(());
                    }
                    _ => {}
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_rolling_upgrade_takes_writes_and_serves_workers_all_the_while() {
    let mut cluster = Cluster::start_at_level(OLD).await;
    let revision = cluster.apply(0, &objects()).await;
    serves_workers(&cluster, revision).await;
    let leader = cluster.leader().await;
    let mut expected = vec![OLD; 3];
    for at in (0..3).filter(|at| *at != leader).chain([leader]) {
        let refused = start_with_one_worker(&cluster, at).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let text = refused.message();
        assert!(
            text.contains("needs feature level") && text.contains("cluster members"),
            "{text}"
        );
        cluster.stop(at).await;
        let others = [(at + 1) % 3, (at + 2) % 3];
        cluster
            .apply(others[0], &[route(&format!("while-{at}-is-down"))])
            .await;
        for other in others {
            assert_eq!(levels(&cluster, other).await.unwrap().0, OLD);
        }
        cluster.levels[at] = None;
        cluster.restart(at).await.unwrap();
        let revision = cluster
            .apply(at, &[route(&format!("at-{at}-upgraded"))])
            .await;
        serves_workers(&cluster, revision).await;
        expected[at] = HIGHEST_LEVEL;
        eventually("the log has what the new release knows", || async {
            (known(&cluster, at).await? == expected).then_some(())
        })
        .await;
    }
    for at in 0..3 {
        eventually("the level goes up", || async {
            let found = levels(&cluster, at).await?;
            (found == (HIGHEST_LEVEL, HIGHEST_LEVEL)).then_some(())
        })
        .await;
    }
    start_with_one_worker(&cluster, 0).await.unwrap();
    // There is no way back.
    cluster.stop(leader).await;
    cluster.levels[leader] = Some(OLD);
    let refused = cluster.restart(leader).await.unwrap_err();
    let text = tidegate_runtime::error::chain(&refused);
    assert!(
        text.contains("at feature level") && text.contains("a level never goes down"),
        "{text}"
    );
}

//! A rollout chooses the same workers whichever configd they follow.

use std::time::Duration;

use tidegate_proto::rollouts::v1::rollout_service_client::RolloutServiceClient;
use tidegate_proto::rollouts::v1::{ListRolloutsRequest, RolloutStep, StartRolloutRequest};
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{
    Ack, ListWorkersRequest, SubscribeRequest, SubscribeResponse, Update, subscribe_request,
    subscribe_response::Message,
};
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::support::{Cluster, PATIENCE, POOL, eventually, objects, route, subscribe};

const MOMENT: Duration = Duration::from_millis(20);

struct FakeWorker {
    requests: mpsc::Sender<SubscribeRequest>,
    answers: Streaming<SubscribeResponse>,
}

impl FakeWorker {
    async fn connect(cluster: &Cluster, at: usize) -> Self {
        let channel = cluster.worker_channel(at);
        let (requests, answers) = subscribe(channel, &format!("w{at}")).await;
        Self { requests, answers }
    }

    /// The last piece of the next version.
    async fn update(&mut self) -> Update {
        loop {
            match self.answers.message().await.unwrap().unwrap().message {
                Some(Message::Update(update)) if update.last => return update,
                _ => {}
            }
        }
    }

    async fn take(&mut self) -> u64 {
        let id = self.update().await.info.unwrap().id.unwrap();
        let version = id.version;
        let ack = Ack {
            id: Some(id),
            ..Ack::default()
        };
        let message = Some(subscribe_request::Message::Ack(ack));
        self.requests
            .send(SubscribeRequest { message })
            .await
            .unwrap();
        version
    }
}

async fn serving(cluster: &Cluster, version: u64) {
    for at in 0..3 {
        eventually("every configd knows what all workers serve", || async {
            let mut client = SnapshotServiceClient::new(cluster.channel(at));
            let mut request = tonic::Request::new(ListWorkersRequest::default());
            let metadata = request.metadata_mut();
            metadata.insert("tidegate-local", "1".parse().unwrap());
            let workers = client
                .list_workers(request)
                .await
                .ok()?
                .into_inner()
                .workers;
            let served = workers.iter().filter(|worker| {
                let serving = worker.serving.as_ref();
                serving.is_some_and(|id| id.version >= version)
            });
            (served.count() == 3).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_step_of_one_worker_is_one_worker_of_the_whole_cluster() {
    let cluster = Cluster::start().await;
    cluster.apply(0, &objects()).await;
    let mut workers = vec![];
    for at in 0..3 {
        let mut worker = FakeWorker::connect(&cluster, at).await;
        worker.take().await;
        workers.push(worker);
    }
    serving(&cluster, 1).await;
    let mut rollouts = RolloutServiceClient::new(cluster.channel(0));
    let step = |percent, bake_ms| RolloutStep {
        percent,
        workers: 0,
        bake_ms,
        gates: None,
    };
    let request = StartRolloutRequest {
        pool: POOL.to_owned(),
        steps: vec![step(1, 86_400_000), step(100, 0)],
        ..StartRolloutRequest::default()
    };
    rollouts.start_rollout(request).await.unwrap();
    cluster.apply(1, &[route("late")]).await;
    let chosen = async {
        loop {
            for worker in &mut workers {
                let _ = tokio::time::timeout(MOMENT, worker.take()).await;
            }
            let mut rollouts = RolloutServiceClient::new(cluster.channel(2));
            let listed = rollouts.list_rollouts(ListRolloutsRequest {}).await;
            let rollout = listed.unwrap().into_inner().pools.remove(0).rollout;
            if rollout.is_some_and(|now| (now.ready, now.chosen) == (1, 1)) {
                return;
            }
        }
    };
    let chosen = tokio::time::timeout(PATIENCE, chosen).await;
    chosen.expect("the leader sees that the chosen worker serves the version");
    let mut listing = SnapshotServiceClient::new(cluster.channel(0));
    let listed = listing.list_workers(ListWorkersRequest::default()).await;
    let listed = listed.unwrap().into_inner().workers;
    let newer = listed.iter().filter(|worker| {
        let serving = worker.serving.as_ref();
        serving.is_some_and(|id| id.version > 1)
    });
    assert_eq!(newer.count(), 1, "{listed:#?}");
}

//! What the leader learns of the workers that follow other replicas.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{ListWorkersRequest, Worker};
use tidegate_store::{Member, Store};
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use super::Fleet;

/// Time between two rounds; a worker's answer that came to another replica is known so much later.
const ROUND: Duration = Duration::from_secs(1);

/// Time for one replica to answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: usize = 20 << 20;

/// Asks the other replicas while this one leads.
pub(crate) struct Gather {
    store: Store,
    fleet: Fleet,
    channels: BTreeMap<String, Channel>,
}

impl Gather {
    pub(crate) fn new(store: Store, fleet: Fleet) -> Self {
        Self {
            store,
            fleet,
            channels: BTreeMap::new(),
        }
    }

    /// Asks until `end`.
    pub(crate) async fn run(mut self, end: CancellationToken) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while end.run_until_cancelled(rounds.tick()).await.is_some() {
            let others = match self.store.is_leader() {
                true => self.store.others(),
                false => Vec::new(),
            };
            if end.run_until_cancelled(self.round(others)).await.is_none() {
                return;
            }
        }
    }

    async fn round(&mut self, others: Vec<(u64, Member)>) {
        let is_member = |url: &String| others.iter().any(|(_, other)| other.api_address == *url);
        self.channels.retain(|url, _| is_member(url));
        let asked = others
            .into_iter()
            .filter_map(|(_, member)| Some(ask(self.channel(member.api_address)?)));
        let asked: Vec<_> = asked.collect();
        let answers = futures_util::future::join_all(asked).await;
        // A replica that does not answer has no say; its workers move to another one.
        self.fleet
            .set_elsewhere(answers.into_iter().flatten().flatten().collect());
    }

    fn channel(&mut self, url: String) -> Option<Channel> {
        if let Some(channel) = self.channels.get(&url) {
            return Some(channel.clone());
        }
        let endpoint = Endpoint::from_shared(url.clone()).ok()?;
        let channel = endpoint.connect_timeout(DEADLINE).connect_lazy();
        self.channels.insert(url, channel.clone());
        Some(channel)
    }
}

async fn ask(channel: Channel) -> Option<Vec<Worker>> {
    let mut request = Request::new(ListWorkersRequest {
        only_here: true,
        ..ListWorkersRequest::default()
    });
    request.set_timeout(DEADLINE);
    let mut client =
        SnapshotServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    Some(
        client
            .list_workers(request)
            .await
            .ok()?
            .into_inner()
            .workers,
    )
}

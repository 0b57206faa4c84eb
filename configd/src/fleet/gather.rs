//! What a replica learns of the workers that follow the others. The leader counts them, and which of them a rollout
//! begins with is to be the same for all.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{ListWorkersRequest, Worker};
use tidegate_store::{Member, Store};
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use super::Fleet;
use crate::cluster::{LOCAL, services};
use crate::listen::Security;

/// Time between two rounds; a worker's answer that came to another replica is known so much later.
const ROUND: Duration = Duration::from_secs(1);

/// Time for one replica to answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: usize = 20 << 20;

/// Asks the other replicas.
pub(crate) struct Gather {
    store: Store,
    security: Security,
    fleet: Fleet,
    channels: BTreeMap<String, Channel>,
}

impl Gather {
    pub(crate) fn new(store: Store, security: Security, fleet: Fleet) -> Self {
        Self {
            store,
            security,
            fleet,
            channels: BTreeMap::new(),
        }
    }

    /// Asks until `end`.
    pub(crate) async fn run(mut self, end: CancellationToken) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while end.run_until_cancelled(rounds.tick()).await.is_some() {
            let others = self.store.others();
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
        let channel = services(&self.security, &url)?;
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
    let local = MetadataValue::from_static("1");
    request.metadata_mut().insert(LOCAL, local);
    let client = SnapshotServiceClient::new(channel);
    let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
    let answer = client.list_workers(request).await;
    Some(answer.ok()?.into_inner().workers)
}

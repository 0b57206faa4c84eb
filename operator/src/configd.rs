//! The ways to configd's replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::sources::v1::source_service_client::SourceServiceClient;
use tidegate_proto::statuses::v1::status_service_client::StatusServiceClient;
use tidegate_runtime::identity::{Credentials, Role};
use tonic::transport::{Channel, Endpoint};

/// Largest answer that is read, in bytes: a message of a watch has at most 1,000 statuses.
const ANSWER_LEN_MAX: usize = 64 << 20;

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After this long without a word on a connection it is asked for a sign of life, and given up as long after that.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The replicas of one configd, and which of them is asked next; at least one. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Configds {
    channels: Arc<[Channel]>,
    next: Arc<AtomicUsize>,
}

/// The services of one replica.
#[derive(Debug, Clone)]
pub(crate) struct Configd {
    pub(crate) objects: ObjectServiceClient<Channel>,
    pub(crate) sources: SourceServiceClient<Channel>,
    pub(crate) statuses: StatusServiceClient<Channel>,
}

impl Configds {
    /// Ways to these addresses, which are connected when they are first used.
    ///
    /// # Errors
    /// There must be an address, and each must be a URL.
    pub(crate) fn new(urls: &[String], credentials: Option<&Credentials>) -> anyhow::Result<Self> {
        let channels: anyhow::Result<Vec<Channel>> =
            urls.iter().map(|url| channel(url, credentials)).collect();
        let channels = channels?;
        anyhow::ensure!(!channels.is_empty(), "--configd names no replica");
        Ok(channels.into())
    }

    /// The replica that is asked now.
    pub(crate) fn current(&self) -> Configd {
        let next = self.next.load(Ordering::Relaxed);
        Configd::new(self.channels[next % self.channels.len()].clone())
    }

    /// Goes on to another one, after a failure.
    pub(crate) fn advance(&self) {
        self.next.fetch_add(1, Ordering::Relaxed);
    }
}

impl From<Vec<Channel>> for Configds {
    fn from(channels: Vec<Channel>) -> Self {
        Self {
            channels: channels.into(),
            next: Arc::default(),
        }
    }
}

impl Configd {
    fn new(channel: Channel) -> Self {
        Self {
            objects: ObjectServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_LEN_MAX),
            sources: SourceServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_LEN_MAX),
            statuses: StatusServiceClient::new(channel).max_decoding_message_size(ANSWER_LEN_MAX),
        }
    }
}

fn channel(url: &str, credentials: Option<&Credentials>) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .with_context(|| format!("--configd {url}: not a URL such as https://host:15010"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    Ok(match credentials {
        None => endpoint.connect_lazy(),
        Some(credentials) => {
            endpoint.connect_with_connector_lazy(credentials.dialer(Role::Configd))
        }
    })
}

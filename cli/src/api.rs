//! Talks to a configd: finds it, and turns its answers into what the commands work with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use tidegate_ir::{EncodedPart, PartKind, Snapshot};
use tidegate_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use tidegate_proto::explain::v1::explain_service_client::ExplainServiceClient;
use tidegate_proto::history::v1::history_service_client::HistoryServiceClient;
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ListObjectsRequest, StoredObject};
use tidegate_proto::plans::v1::plan_service_client::PlanServiceClient;
use tidegate_proto::rollouts::v1::rollout_service_client::RolloutServiceClient;
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{GetSnapshotRequest, ListWorkersRequest, SnapshotInfo, Worker};
use tidegate_proto::sources::v1::source_service_client::SourceServiceClient;
use tidegate_proto::statuses::v1::status_service_client::StatusServiceClient;
use tidegate_proto::statuses::v1::{ListStatusesRequest, ListStatusesResponse};
use tidegate_runtime::identity::{Role, TlsArgs};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Where `tidegate up` and `tidegate configd` listen unless told otherwise.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:15010";
/// The file in a data directory that says where its configd listens.
pub(crate) const DISCOVERY_FILE: &str = "server";
/// Largest answer that is read, in bytes.
const ANSWER_LEN_MAX: usize = 20 << 20;
/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Most objects in a page.
const PAGE_SIZE: u32 = 5_000;

/// Which configd to ask.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Address of the gRPC services; of several, separated by commas, the first that answers is asked
    /// [default: http://127.0.0.1:15010]
    #[arg(
        long,
        env = "TIDEGATE_SERVER",
        value_name = "URL",
        value_delimiter = ','
    )]
    server: Vec<String>,
    /// Ask the `tidegate up` that runs on this data directory
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
}

impl ServerArgs {
    /// Connects.
    pub(crate) async fn connect(&self) -> anyhow::Result<Api> {
        let has_certificate = self.tls.tls_cert.is_some();
        let urls = match (&self.server[..], &self.data_dir) {
            ([], Some(folder)) => vec![discovered(folder)?],
            ([], None) => vec![DEFAULT_SERVER.to_owned()],
            (servers, _) => {
                let url = |server: &String| with_scheme(server, has_certificate);
                servers.iter().map(url).collect()
            }
        };
        let mut causes = Vec::new();
        for url in &urls {
            match self.connect_to(url).await? {
                Ok(channel) => return Ok(Api::new(channel)),
                Err(error) => causes.push(root_cause(&error)),
            }
        }
        let (urls, causes) = (urls.join(" and "), causes.join("; "));
        Err(anyhow!(
            "no configd answers at {urls} ({causes}); start `tidegate up`, or name another with --server"
        ))
    }

    /// The outer error is a flag that does not fit, the inner one a server that does not answer.
    async fn connect_to(
        &self,
        url: &str,
    ) -> anyhow::Result<Result<Channel, tonic::transport::Error>> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .with_context(|| format!("--server {url} is no URL"))?
            .connect_timeout(CONNECT_TIMEOUT);
        Ok(match self.tls.for_url(endpoint.uri())? {
            None => endpoint.connect().await,
            Some(credentials) => {
                let dialer = credentials.dialer(Role::Configd);
                endpoint.connect_with_connector(dialer).await
            }
        })
    }
}

/// Without a scheme, a certificate of our own says which one is meant.
fn with_scheme(server: &str, has_certificate: bool) -> String {
    if server.contains("://") {
        server.to_owned()
    } else if has_certificate {
        format!("https://{server}")
    } else {
        format!("http://{server}")
    }
}

fn discovered(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join(DISCOVERY_FILE);
    let url = std::fs::read_to_string(&path)
        .with_context(|| format!("no `tidegate up` runs on {}", folder.display()))?;
    Ok(url.trim().to_owned())
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The services of one configd.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) objects: ObjectServiceClient<Channel>,
    pub(crate) snapshots: SnapshotServiceClient<Channel>,
    pub(crate) statuses: StatusServiceClient<Channel>,
    pub(crate) history: HistoryServiceClient<Channel>,
    pub(crate) plans: PlanServiceClient<Channel>,
    pub(crate) rollouts: RolloutServiceClient<Channel>,
    pub(crate) cluster: ClusterServiceClient<Channel>,
    pub(crate) sources: SourceServiceClient<Channel>,
    pub(crate) explain: ExplainServiceClient<Channel>,
}

impl Api {
    /// The services behind a channel.
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            objects: ObjectServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_LEN_MAX),
            snapshots: SnapshotServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_LEN_MAX),
            rollouts: RolloutServiceClient::new(channel.clone()),
            cluster: ClusterServiceClient::new(channel.clone()),
            explain: ExplainServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_LEN_MAX),
            sources: SourceServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_LEN_MAX),
            plans: PlanServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_LEN_MAX),
            history: HistoryServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_LEN_MAX),
            statuses: StatusServiceClient::new(channel).max_decoding_message_size(ANSWER_LEN_MAX),
        }
    }

    /// Every object that fits, over all pages.
    pub(crate) async fn list_objects(
        &self,
        filter: ListObjectsRequest,
    ) -> anyhow::Result<Vec<StoredObject>> {
        let mut client = self.objects.clone();
        let mut request = ListObjectsRequest {
            page_size: PAGE_SIZE,
            ..filter
        };
        let mut objects = Vec::new();
        loop {
            let page = client
                .list_objects(request.clone())
                .await
                .map_err(failure)?
                .into_inner();
            objects.extend(page.objects);
            if page.next_page_token.is_empty() {
                return Ok(objects);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Statuses and diagnostics that fit.
    pub(crate) async fn list_statuses(
        &self,
        filter: ListStatusesRequest,
    ) -> anyhow::Result<ListStatusesResponse> {
        let mut client = self.statuses.clone();
        Ok(client
            .list_statuses(filter)
            .await
            .map_err(failure)?
            .into_inner())
    }

    /// The workers that are connected.
    pub(crate) async fn list_workers(&self) -> anyhow::Result<Vec<Worker>> {
        let mut client = self.snapshots.clone();
        let request = ListWorkersRequest::default();
        Ok(client
            .list_workers(request)
            .await
            .map_err(failure)?
            .into_inner()
            .workers)
    }

    /// A whole snapshot without private keys; version 0 is the newest.
    pub(crate) async fn snapshot(
        &self,
        pool: &str,
        version: u64,
    ) -> anyhow::Result<(SnapshotInfo, Snapshot)> {
        let mut client = self.snapshots.clone();
        let request = GetSnapshotRequest {
            pool: pool.to_owned(),
            version,
        };
        let mut pieces = client
            .get_snapshot(request)
            .await
            .map_err(failure)?
            .into_inner();
        let (mut info, mut refs, mut blobs) = (None, Vec::new(), BTreeMap::new());
        while let Some(piece) = pieces.message().await.map_err(failure)? {
            info = info.or(piece.info);
            refs.extend(piece.parts);
            blobs.extend(
                piece
                    .blobs
                    .into_iter()
                    .map(|blob| (blob.digest, blob.content)),
            );
        }
        let info = info.context("configd sent a snapshot without its name")?;
        let mut parts = Vec::new();
        for part in refs {
            let kind = PartKind::from_number(part.kind)
                .with_context(|| format!("part {} has an unknown kind", part.name))?;
            // Keys stay with configd; nothing that is shown needs them.
            let Some(bytes) = blobs.get(&part.digest) else {
                continue;
            };
            let decoded = EncodedPart::decode(kind, bytes.clone())
                .with_context(|| format!("part {} cannot be read", part.name))?;
            parts.push(decoded);
        }
        let id = info.id.clone().unwrap_or_default();
        Ok((info, Snapshot::new(id.pool, id.version, parts)))
    }
}

/// A refusal by configd in one line, and what it means for the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    code: Code,
    message: String,
}

impl Refusal {
    /// Whether things are not as the request expects, so that reading them again may help.
    pub(crate) fn is_unexpected(&self) -> bool {
        self.code == Code::FailedPrecondition
    }

    /// Whether the time ran out.
    pub(crate) fn is_late(&self) -> bool {
        self.code == Code::DeadlineExceeded
    }
}

/// A refusal by configd as an error.
pub(crate) fn failure(status: Status) -> anyhow::Error {
    let (code, message) = (status.code(), status.message());
    let message = match code {
        Code::Unavailable => format!("configd is not to be reached: {message}"),
        // What only configd's log explains.
        Code::Internal | Code::Unknown => match status.metadata().get("x-request-id") {
            Some(id) => format!("{message} (configd's log has more, call {id:?})"),
            None => message.to_owned(),
        },
        _ => message.to_owned(),
    };
    Refusal { code, message }.into()
}

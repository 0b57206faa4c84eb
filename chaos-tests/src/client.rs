//! A client of one configd: what writers and readers ask for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{
    ApplyRequest, GetObjectRequest, ListObjectsRequest, ObjectKey, Operation, WaitFor,
};
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::{ListSnapshotsRequest, SnapshotId};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::objects::{POOL, SOURCE};

/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// Time for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client; clones share its connection.
#[derive(Debug, Clone)]
pub struct Client {
    objects: ObjectServiceClient<Channel>,
    snapshots: SnapshotServiceClient<Channel>,
    stale: bool,
}

impl Client {
    /// A client that connects when it is used.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self::patient(address, ANSWER)
    }

    /// The same with another time for an answer.
    #[must_use]
    pub fn patient(address: SocketAddr, answer: Duration) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.expect("an address makes a URI");
        let channel = endpoint
            .connect_timeout(CONNECT)
            .timeout(answer)
            .connect_lazy();
        Self {
            objects: ObjectServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            snapshots: SnapshotServiceClient::new(channel)
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            stale: false,
        }
    }

    /// The same whose reads are answered with what the node has, however old that is.
    #[must_use]
    pub fn with_stale_reads(self, stale: bool) -> Self {
        Self { stale, ..self }
    }

    /// Has a batch stored and returns its revision.
    ///
    /// # Errors
    /// As configd says, or the connection.
    pub async fn apply(&self, operations: Vec<Operation>) -> Result<u64, Status> {
        self.apply_and_wait(operations, WaitFor::Committed).await
    }

    /// The same, and waits until it has come so far.
    ///
    /// # Errors
    /// As configd says, or the connection.
    pub async fn apply_and_wait(
        &self,
        operations: Vec<Operation>,
        until: WaitFor,
    ) -> Result<u64, Status> {
        let request = ApplyRequest {
            source: SOURCE.to_owned(),
            operations,
            wait_for: until.into(),
            ..ApplyRequest::default()
        };
        let answer = self.objects.clone().apply(request).await?;
        Ok(answer.into_inner().revision)
    }

    /// One object's content and the revision that last changed it; `None` where there is none.
    ///
    /// # Errors
    /// As configd says, or the connection.
    pub async fn get(&self, key: ObjectKey) -> Result<Option<(u64, String)>, Status> {
        let request = GetObjectRequest {
            key: Some(key),
            stale: self.stale,
        };
        match self.objects.clone().get_object(request).await {
            Ok(answer) => {
                let stored = answer.into_inner().object.unwrap_or_default();
                let object = stored.object.unwrap_or_default();
                Ok(Some((stored.revision, text(&object.content))))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// The content of every object of a kind, or of all, by kind and name.
    ///
    /// # Errors
    /// As configd says, or the connection.
    pub async fn list(&self, kind: &str) -> Result<BTreeMap<String, String>, Status> {
        let request = ListObjectsRequest {
            source: SOURCE.to_owned(),
            kind: kind.to_owned(),
            page_size: 5_000,
            stale: self.stale,
            ..ListObjectsRequest::default()
        };
        let answer = self.objects.clone().list_objects(request).await?;
        let objects = answer.into_inner().objects.into_iter();
        let objects = objects.filter_map(|stored| stored.object);
        let named = objects.map(|object| {
            let key = object.key.unwrap_or_default();
            (format!("{}/{}", key.kind, key.name), text(&object.content))
        });
        Ok(named.collect())
    }

    /// The newest versions of the pool, each with its digest.
    ///
    /// # Errors
    /// As configd says, or the connection.
    pub async fn versions(&self) -> Result<BTreeMap<u64, Vec<u8>>, Status> {
        let request = ListSnapshotsRequest {
            pool: POOL.to_owned(),
            page_size: 1_000,
            ..ListSnapshotsRequest::default()
        };
        let answer = self.snapshots.clone().list_snapshots(request).await?;
        let infos = answer.into_inner().snapshots.into_iter();
        let ids = infos.filter_map(|info| info.id);
        let version = |id: SnapshotId| (id.version, id.digest.to_vec());
        Ok(ids.map(version).collect())
    }
}

fn text(content: &[u8]) -> String {
    String::from_utf8_lossy(content).into_owned()
}

//! The client's side: openraft's calls to one peer, and our own to the leader.

use std::{
    collections::HashMap,
    future::Future,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openraft::{
    RaftNetworkFactory, RaftNetworkV2,
    base::OptionalSend,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
    type_config::alias::{SnapshotOf, VoteOf},
};
use tidegate_proto::raft::v1::{self, peer_service_client::PeerServiceClient};
use tonic::{Request, Status, transport::Channel};

use super::{Dial, MESSAGE_BYTES_MAX, image, wire};
use crate::{
    StoreError,
    command::Outcome,
    directory::Identity,
    image::ImageFile,
    level::Levels,
    member::Member,
    raft::{LogId, TypeConfig},
    views::Views,
};

/// Time for entries to reach a peer's disk. openraft's own limit is that of a heartbeat, which a slow disk exceeds.
const APPEND_DEADLINE: Duration = Duration::from_secs(10);
/// Time for a whole image; a peer that stops taking chunks is noticed by the connection's pings.
const IMAGE_DEADLINE: Duration = Duration::from_secs(1_800);
/// Time for a command at the leader.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(20);
/// Time for the leader to be confirmed by a quorum.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(5);
/// Channels that are kept; there are more only where addresses have changed.
const CHANNELS_MAX: usize = 64;

/// What a connection is used for. Heartbeats do not wait behind entries, nor entries behind an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lane {
    Log,
    Heartbeat,
    Image,
    Ask,
}

/// The ways from this node to the others. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    identity: Arc<Identity>,
    dial: Arc<dyn Dial>,
    /// The folder of the packs that images name.
    packs: Arc<Path>,
    levels: Arc<Levels>,
    channels: Arc<Mutex<HashMap<(String, Lane), Channel>>>,
}

/// One peer, over one connection.
#[derive(Debug)]
pub(crate) struct Peer {
    network: Network,
    lane: Lane,
    target: u64,
    member: Member,
}

impl Network {
    pub(crate) fn new(identity: Identity, dial: Arc<dyn Dial>, views: &Views) -> Self {
        Self {
            identity: Arc::new(identity),
            dial,
            packs: views.blobs.dir().into(),
            levels: views.levels.clone(),
            channels: Arc::default(),
        }
    }

    /// Asks the leader to append a command, once.
    pub(crate) async fn propose(
        &self,
        (leader, member): (u64, &Member),
        command: bytes::Bytes,
    ) -> Result<Outcome, StoreError> {
        use v1::propose_response::Answer;
        let uncertain = |reason: String| StoreError::Uncertain { reason };
        let peer = self.peer(leader, member, Lane::Ask);
        let message = v1::ProposeRequest {
            envelope: Some(peer.envelope()),
            command,
        };
        let mut client = peer.client().map_err(|_| self.no_leader(member))?;
        let answer = client.propose(timed(message, WRITE_DEADLINE)).await;
        let answer = answer.map_err(|status| match nothing_was_sent(&status) {
            true => self.no_leader(member),
            false => uncertain(format!("{member} did not answer: {}", status.message())),
        })?;
        match answer.into_inner().answer {
            Some(Answer::Outcome(outcome)) => crate::command::outcome(outcome).map_err(uncertain),
            Some(Answer::NoLeader(found)) => Err(StoreError::NoLeader {
                hint: found.leader.map(wire::member),
            }),
            Some(Answer::NotWritten(reason)) => Err(StoreError::NotWritten { reason }),
            Some(Answer::Uncertain(reason)) => Err(uncertain(reason)),
            None => Err(uncertain(format!("{member} gave an empty answer"))),
        }
    }

    /// Asks the leader how far this node must have applied the log.
    pub(crate) async fn read_index(
        &self,
        (leader, member): (u64, &Member),
    ) -> Result<LogId, StoreError> {
        use v1::read_index_response::Answer;
        let peer = self.peer(leader, member, Lane::Ask);
        let message = v1::ReadIndexRequest {
            envelope: Some(peer.envelope()),
        };
        let mut client = peer.client().map_err(|_| self.no_leader(member))?;
        let answer = client.read_index(timed(message, READ_DEADLINE)).await;
        match answer.map(|answer| answer.into_inner().answer) {
            Ok(Some(Answer::LogId(id))) => Ok(wire::log_id(&id)),
            Ok(Some(Answer::NoLeader(found))) => Err(StoreError::NoLeader {
                hint: found.leader.map(wire::member),
            }),
            Ok(None) | Err(_) => Err(self.no_leader(member)),
        }
    }

    /// Asks who is at an address.
    pub(crate) async fn identify(&self, address: &str) -> Result<v1::IdentifyResponse, StoreError> {
        let channel = self.channel(address, Lane::Ask);
        let channel = channel.map_err(|reason| StoreError::Membership { reason })?;
        let mut client = PeerServiceClient::new(channel);
        let request = timed(v1::IdentifyRequest {}, READ_DEADLINE);
        let answer = client.identify(request).await;
        Ok(answer
            .map_err(|status| unreachable(address, &status))?
            .into_inner())
    }

    /// Gives a node that waits its place.
    pub(crate) async fn give_place(
        &self,
        address: &str,
        place: v1::FoundRequest,
    ) -> Result<(), StoreError> {
        let mut client = self.stranger(address)?;
        let given = client.found(timed(place, READ_DEADLINE)).await;
        given
            .map(drop)
            .map_err(|status| unreachable(address, &status))
    }

    /// Tells the leader how this node is reached.
    pub(crate) async fn introduce(
        &self,
        (leader, at): (u64, &Member),
        own: &Member,
    ) -> Result<(), StoreError> {
        let peer = self.peer(leader, at, Lane::Ask);
        let message = v1::IntroduceRequest {
            envelope: Some(peer.envelope()),
            member: Some(wire::member_wire(own)),
        };
        let mut client = peer.client().map_err(|_| self.no_leader(at))?;
        let told = client.introduce(timed(message, WRITE_DEADLINE)).await;
        told.map(drop)
            .map_err(|status| unreachable(&at.peer_address, &status))
    }

    fn stranger(&self, address: &str) -> Result<PeerServiceClient<Channel>, StoreError> {
        let channel = self.dial.channel(address);
        let channel = channel.map_err(|reason| StoreError::Membership { reason })?;
        Ok(PeerServiceClient::new(channel))
    }

    /// Nothing was written; `member` was thought to lead.
    fn no_leader(&self, member: &Member) -> StoreError {
        StoreError::NoLeader {
            hint: Some(member.clone()),
        }
    }

    fn peer(&self, target: u64, member: &Member, lane: Lane) -> Peer {
        Peer {
            network: self.clone(),
            lane,
            target,
            member: member.clone(),
        }
    }

    fn channel(&self, address: &str, lane: Lane) -> Result<Channel, String> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address.to_owned(), lane);
        if let Some(channel) = channels.get(&key) {
            return Ok(channel.clone());
        }
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        let channel = self.dial.channel(address)?;
        channels.insert(key, channel.clone());
        Ok(channel)
    }
}

impl Peer {
    fn envelope(&self) -> v1::Envelope {
        let identity = &self.network.identity;
        v1::Envelope {
            cluster_id: identity.cluster_id.clone(),
            epoch: identity.epoch,
            from: identity.node_id,
            to: self.target,
            level: self.network.levels.reached(),
            highest_level: self.network.levels.highest,
        }
    }

    fn client(&self) -> Result<PeerServiceClient<Channel>, Unreachable<TypeConfig>> {
        let address = &self.member.peer_address;
        let channel = self.network.channel(address, self.lane);
        let channel = channel.map_err(Unreachable::from_string)?;
        Ok(PeerServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn failed(&self, status: &Status) -> Unreachable<TypeConfig> {
        let (id, member) = (self.target, &self.member);
        if status.code() == tonic::Code::FailedPrecondition {
            tracing::warn!(node = id, %member, cause = status.message(), "a peer refuses this node");
        }
        Unreachable::from_string(format!("node {id}, {member}: {}", status.message()))
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<TypeConfig>,
        pre_vote: bool,
        deadline: Duration,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = wire::vote_wire(&request, self.envelope(), pre_vote);
        let answer = self.client()?.vote(timed(message, deadline)).await;
        let answer = answer.map_err(|status| self.failed(&status))?;
        wire::voted(answer.into_inner()).map_err(unreadable)
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, member: &Member) -> Peer {
        self.peer(target, member, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, member: &Member) -> Peer {
        self.peer(target, member, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, member: &Member) -> Peer {
        self.peer(target, member, Lane::Image)
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = ImageFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let deadline = match request.entries.is_empty() {
            true => option.hard_ttl(),
            false => APPEND_DEADLINE,
        };
        let (message, cut) = wire::append_wire(&request, self.envelope());
        let answer = self.client()?.append(timed(message, deadline)).await;
        let answer = answer.map_err(|status| self.failed(&status))?;
        let answer = wire::appended(answer.into_inner()).map_err(unreadable)?;
        Ok(match (answer, cut) {
            (AppendEntriesResponse::Success, Some(last)) => {
                AppendEntriesResponse::PartialSuccess(Some(last))
            }
            (answer, _) => answer,
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(request, false, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(request, true, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, ImageFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let start = v1::ImageStart {
            envelope: Some(self.envelope()),
            ballot: Some(wire::ballot_wire(&vote)),
        };
        let pieces = image::pieces(start, snapshot.snapshot, self.network.packs.to_path_buf());
        let mut client = self.client()?;
        let sending = client.install_image(timed(pieces, IMAGE_DEADLINE));
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = sending => {
                let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
                let vote = wire::ballot(answer.ballot);
                let vote = vote.map_err(NetworkError::<TypeConfig>::from_string)?;
                Ok(SnapshotResponse::new(vote))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = v1::TransferLeaderRequest {
            envelope: Some(self.envelope()),
            ballot: Some(wire::ballot_wire(request.from_leader())),
            successor: *request.to_node_id(),
            last: request.last_log_id().map(wire::log_id_wire),
        };
        let mut client = self.client()?;
        let answer = client.transfer_leader(timed(message, option.hard_ttl()));
        let answer = answer.await.map_err(|status| self.failed(&status))?;
        match answer.into_inner().refusal {
            refusal if refusal.is_empty() => Ok(Ok(())),
            refusal => Err(NetworkError::<TypeConfig>::from_string(refusal).into()),
        }
    }
}

fn timed<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

fn unreachable(address: &str, status: &Status) -> StoreError {
    StoreError::Membership {
        reason: format!("the node at {address} did not do it: {}", status.message()),
    }
}

fn unreadable(why: String) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::from_string(why))
}

/// Whether the connection was never made, so that the other end cannot have done anything.
fn nothing_was_sent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    // Our own refusals come before anything is done.
    status.code() == tonic::Code::FailedPrecondition
}

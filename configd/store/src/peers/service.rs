//! The server's side: what other nodes ask of this one.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use futures_util::StreamExt as _;
use openraft::{ChangeMembers, raft::TransferLeaderRequest as HandOver};
use tidegate_proto::raft::v1::{
    self, install_image_request::Piece, peer_service_server::PeerService, propose_response,
    read_index_response,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::{image, member_wire, refusal, wire};
use crate::{
    StoreError,
    directory::{Claim, Identity},
    member::Member,
    node::{Declined, Node},
    raft::Payload,
};

/// What the service knows of its node, which comes to be while others already ask.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    member: Member,
    incoming: PathBuf,
    /// Taken while the node belongs to no cluster and waits for a place in one.
    vacancy: Mutex<Option<Claim>>,
    identity: watch::Sender<Option<Identity>>,
    had_log: bool,
    node: OnceLock<Weak<Node>>,
    /// One image at a time.
    installing: tokio::sync::Mutex<()>,
}

impl Desk {
    pub(crate) fn new(member: Member, claim: &Claim) -> Self {
        let shared = Shared {
            member,
            incoming: claim.path.join("incoming"),
            vacancy: Mutex::default(),
            identity: watch::Sender::new(claim.identity.clone()),
            had_log: claim.had_log(),
            node: OnceLock::new(),
            installing: tokio::sync::Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Lets another node give this one its place, and waits until it has.
    pub(crate) async fn wait_for_place(&self, claim: Claim) -> Claim {
        let mut identity = self.shared.identity.subscribe();
        *self.vacancy() = Some(claim);
        // The sender lives as long as this desk.
        let _ = identity.wait_for(Option::is_some).await;
        self.vacancy().take().expect("nobody else takes it")
    }

    /// Says from now on who the node is.
    pub(crate) fn settle(&self, identity: &Identity) {
        self.shared.identity.send_replace(Some(identity.clone()));
    }

    /// Answers for the node from now on.
    pub(crate) fn open(&self, node: &Arc<Node>) {
        let _ = self.shared.node.set(Arc::downgrade(node));
    }

    fn vacancy(&self) -> std::sync::MutexGuard<'_, Option<Claim>> {
        let vacancy = &self.shared.vacancy;
        vacancy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self) -> Result<Arc<Node>, Status> {
        let node = self.shared.node.get().and_then(Weak::upgrade);
        node.ok_or_else(|| Status::unavailable("this node is starting or stopping"))
    }

    /// The node, for a message that is meant for it.
    fn addressed(&self, envelope: Option<&v1::Envelope>) -> Result<Arc<Node>, Status> {
        let node = self.node()?;
        refusal::check(envelope, &node.directory.identity, &node.views.levels)?;
        Ok(node)
    }

    fn found_here(&self, request: v1::FoundRequest) -> Result<(), Status> {
        let place = Identity::new(request.node_id, request.cluster_id, request.epoch);
        if let Some(identity) = &*self.shared.identity.borrow() {
            return match identity.same_place(&place) {
                true => Ok(()),
                false => Err(Status::failed_precondition(format!(
                    "this node is node {} of cluster {} already",
                    identity.node_id, identity.cluster_id
                ))),
            };
        }
        let mut vacancy = self.vacancy();
        let claim = vacancy.as_mut().ok_or_else(|| {
            Status::failed_precondition("this node does not wait to be founded with others")
        })?;
        claim
            .settle(place.clone())
            .map_err(|error| Status::internal(error.to_string()))?;
        drop(vacancy);
        self.settle(&place);
        Ok(())
    }
}

#[tonic::async_trait]
impl PeerService for Desk {
    async fn identify(
        &self,
        _request: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::IdentifyResponse>, Status> {
        let identity = self.shared.identity.borrow().clone();
        let node = self.node().ok();
        let leader = match &node {
            Some(node) => node.raft.current_leader().await,
            None => None,
        };
        let committed = node.as_ref().map(|node| node.committed_members());
        let (members_at, member_ids) = committed.unwrap_or_default();
        let disk = node.as_ref().and_then(|node| node.disk().ok());
        let disk = disk.map(|disk| v1::DiskSpace {
            free: disk.free,
            reserve: disk.reserve,
        });
        let has_log = node.is_some_and(|node| node.log.last_index().is_some());
        let (cluster_id, epoch, node_id) = identity.map_or_else(Default::default, |identity| {
            (identity.cluster_id, identity.epoch, identity.node_id)
        });
        Ok(Response::new(v1::IdentifyResponse {
            cluster_id,
            epoch,
            node_id,
            member: Some(member_wire(&self.shared.member)),
            has_log: has_log || self.shared.had_log,
            leader_id: leader.unwrap_or_default(),
            member_ids,
            members_at,
            disk,
        }))
    }

    async fn found(
        &self,
        request: Request<v1::FoundRequest>,
    ) -> Result<Response<v1::FoundResponse>, Status> {
        let (desk, request) = (self.clone(), request.into_inner());
        let founded = tokio::task::spawn_blocking(move || desk.found_here(request));
        founded.await.map_err(broken)??;
        Ok(Response::new(v1::FoundResponse {}))
    }

    async fn introduce(
        &self,
        request: Request<v1::IntroduceRequest>,
    ) -> Result<Response<v1::IntroduceResponse>, Status> {
        let request = request.into_inner();
        let node = self.addressed(request.envelope.as_ref())?;
        let from = request.envelope.map_or(0, |envelope| envelope.from);
        let (_, known) = node.committed_members();
        if !known.contains(&from) {
            let text = format!("node {from} is none of this cluster's");
            return Err(Status::failed_precondition(text));
        }
        let member = super::member(request.member.unwrap_or_default());
        let change = ChangeMembers::SetNodes([(from, member)].into());
        let changed = node.change_members(change).await;
        changed.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(v1::IntroduceResponse {}))
    }

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let request = request.into_inner();
        let node = self.addressed(request.envelope.as_ref())?;
        if !request.entries.is_empty() {
            check_disk(&node)?;
        }
        let request = wire::append(request).map_err(Status::invalid_argument)?;
        let response = node.raft.append_entries(request).await.map_err(broken)?;
        node.make_image_if_due().await;
        Ok(Response::new(wire::appended_wire(&response)))
    }

    async fn vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        let request = request.into_inner();
        let node = self.addressed(request.envelope.as_ref())?;
        let pre_vote = request.pre_vote;
        let request = wire::vote(request).map_err(Status::invalid_argument)?;
        let response = match pre_vote {
            true => node.raft.pre_vote(request).await,
            false => node.raft.vote(request).await,
        };
        let response = response.map_err(broken)?;
        Ok(Response::new(wire::voted_wire(&response)))
    }

    async fn install_image(
        &self,
        request: Request<Streaming<v1::InstallImageRequest>>,
    ) -> Result<Response<v1::InstallImageResponse>, Status> {
        let mut pieces = request.into_inner();
        let first = pieces
            .next()
            .await
            .transpose()?
            .and_then(|first| first.piece);
        let Some(Piece::Start(start)) = first else {
            return Err(Status::invalid_argument("the first piece is not a start"));
        };
        let node = self.addressed(start.envelope.as_ref())?;
        check_disk(&node)?;
        let ballot = wire::ballot(start.ballot).map_err(Status::invalid_argument)?;
        let Ok(_alone) = self.shared.installing.try_lock() else {
            return Err(Status::resource_exhausted(
                "another image is being received",
            ));
        };
        let received = image::receive(pieces, &self.shared.incoming).await?;
        let snapshot = {
            let node = node.clone();
            let taken = tokio::task::spawn_blocking(move || node.take_image(received));
            taken.await.map_err(broken)?.map_err(broken)?
        };
        let response = node.raft.install_full_snapshot(ballot, snapshot).await;
        let response = response.map_err(broken)?;
        // What is left of it goes with the next image, or with the next start.
        let _ = tokio::fs::remove_dir_all(&self.shared.incoming).await;
        let ballot = Some(wire::ballot_wire(&response.vote));
        Ok(Response::new(v1::InstallImageResponse { ballot }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let request = request.into_inner();
        let node = self.addressed(request.envelope.as_ref())?;
        let ballot = wire::ballot(request.ballot).map_err(Status::invalid_argument)?;
        let last = request.last.as_ref().map(wire::log_id);
        let hand_over = HandOver::new(ballot, request.successor, last);
        let answer = node.raft.handle_transfer_leader(hand_over).await;
        let refusal = match answer.map_err(broken)? {
            Ok(()) => String::new(),
            Err(refusal) => refusal.to_string(),
        };
        Ok(Response::new(v1::TransferLeaderResponse { refusal }))
    }

    async fn propose(
        &self,
        request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        use propose_response::Answer;
        let request = request.into_inner();
        let node = self.addressed(request.envelope.as_ref())?;
        let answer = match node.propose(Payload::new(request.command)).await {
            Ok(outcome) => Answer::Outcome(crate::command::outcome_wire(&outcome)),
            Err(Declined::NotLeader(leader)) => Answer::NoLeader(no_leader(leader)),
            Err(Declined::Failed(
                known @ (StoreError::DiskFull { .. }
                | StoreError::VotersFull { .. }
                | StoreError::LevelAbove { .. }),
            )) => Answer::NotWritten(known.to_string()),
            Err(Declined::Failed(StoreError::Uncertain { reason })) => Answer::Uncertain(reason),
            Err(Declined::Failed(other)) => Answer::Uncertain(other.to_string()),
        };
        let answer = Some(answer);
        Ok(Response::new(v1::ProposeResponse { answer }))
    }

    async fn read_index(
        &self,
        request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        use read_index_response::Answer;
        let node = self.addressed(request.into_inner().envelope.as_ref())?;
        let answer = match node.read_index().await {
            Ok(id) => Answer::LogId(wire::log_id_wire(&id)),
            Err(Declined::NotLeader(leader)) => Answer::NoLeader(no_leader(leader)),
            Err(Declined::Failed(error)) => return Err(broken(error)),
        };
        let answer = Some(answer);
        Ok(Response::new(v1::ReadIndexResponse { answer }))
    }
}

/// A log that meets the end of its disk half-way needs a restart, so a replica stops taking entries before.
fn check_disk(node: &Node) -> Result<(), Status> {
    let disk = node.disk().map_err(broken)?;
    match disk.is_critical() {
        true => Err(Status::resource_exhausted(format!(
            "the disk of {} is full: {} bytes are free",
            node.directory.path.display(),
            disk.free
        ))),
        false => Ok(()),
    }
}

fn no_leader(leader: Option<(u64, Member)>) -> v1::NoLeader {
    v1::NoLeader {
        leader: leader.map(|(_, member)| member_wire(&member)),
    }
}

fn broken(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

//! ClusterService: who belongs to the cluster.

use futures_util::StreamExt as _;
use tidegate_proto::cluster::v1::cluster_service_server::ClusterService;
use tidegate_proto::cluster::v1::{
    AddMemberRequest, AddMemberResponse, BackupRequest, BackupResponse, DiskSpace,
    GetStatusRequest, GetStatusResponse, ListMembersRequest, ListMembersResponse, Member,
    RemoveMemberRequest, RemoveMemberResponse, Role, TransferLeadershipRequest,
    TransferLeadershipResponse,
};
use tidegate_store::{MemberStatus, Role as StoreRole, Store, StoreError};
use tonic::{Request, Response, Status};

use super::Answers;
use crate::error;

/// Answers ClusterService. What only the leader can do comes to the leader.
#[derive(Debug, Clone)]
pub(crate) struct ClusterEditor {
    pub(crate) store: Store,
}

/// What a failure of the store means to the caller.
fn failed(error: StoreError) -> Status {
    error::store(&error)
}

#[tonic::async_trait]
impl ClusterService for ClusterEditor {
    type BackupStream = Answers<BackupResponse>;

    async fn backup(
        &self,
        request: Request<BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        super::call(&request).changes("take a backup");
        if !request.into_inner().stale {
            self.store.linearize().await.map_err(failed)?;
        }
        let frames = self.store.backup().await.map_err(failed)?;
        let answers = frames.map(|content| Ok::<_, Status>(BackupResponse { content }));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_status(
        &self,
        _request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let metrics = self.store.metrics();
        let members = self.store.members();
        let found = |id: u64| members.iter().find(|known| known.id == id);
        let own = found(metrics.node_id).filter(|_| !self.store.is_removed());
        let leader = self.store.leader().and_then(|(id, _)| found(id));
        Ok(Response::new(GetStatusResponse {
            cluster_id: self.store.cluster_id().to_owned(),
            epoch: self.store.epoch(),
            node_id: metrics.node_id,
            role: own.map_or(Role::NoMember, |own| role(own.role)).into(),
            leader: leader.map(member),
            term: metrics.term,
            last_log_index: metrics.last_log_index,
            applied_index: metrics.applied_index,
            revision: self.store.revision(),
            disk: found(metrics.node_id).and_then(|own| own.disk).map(disk),
            level: self.store.level(),
            highest_level: self.store.highest_level(),
        }))
    }

    async fn list_members(
        &self,
        _request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let members = self.store.members().iter().map(member).collect();
        Ok(Response::new(ListMembersResponse { members }))
    }

    async fn add_member(
        &self,
        request: Request<AddMemberRequest>,
    ) -> Result<Response<AddMemberResponse>, Status> {
        let address = request.get_ref().peer_address.clone();
        super::call(&request).changes(format!("add the node at {address}"));
        let id = self.store.add_member(&address).await.map_err(failed)?;
        Ok(Response::new(AddMemberResponse { id }))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        let id = request.get_ref().id;
        super::call(&request).changes(format!("remove node {id}"));
        self.store.remove_member(id).await.map_err(failed)?;
        Ok(Response::new(RemoveMemberResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        let id = request.get_ref().id;
        super::call(&request).changes(format!("node {id} shall lead"));
        self.store.transfer_leadership(id).await.map_err(failed)?;
        Ok(Response::new(TransferLeadershipResponse {}))
    }
}

fn role(role: StoreRole) -> Role {
    match role {
        StoreRole::Leader => Role::Leader,
        StoreRole::Voter => Role::Voter,
        StoreRole::Learner => Role::Learner,
    }
}

fn member(status: &MemberStatus) -> Member {
    Member {
        id: status.id,
        name: status.member.name.clone(),
        peer_address: status.member.peer_address.clone(),
        api_address: status.member.api_address.clone(),
        role: role(status.role).into(),
        lag: status.lag,
        disk: status.disk.map(disk),
        level: status.member.level,
    }
}

fn disk(space: tidegate_store::DiskSpace) -> DiskSpace {
    DiskSpace {
        free: space.free,
        reserve: space.reserve,
    }
}

//! ClusterService: who belongs to the cluster.

use futures_util::StreamExt as _;
use tidegate_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use tidegate_proto::cluster::v1::cluster_service_server::ClusterService;
use tidegate_proto::cluster::v1::{
    AddMemberRequest, AddMemberResponse, BackupRequest, BackupResponse, GetStatusRequest,
    GetStatusResponse, ListMembersRequest, ListMembersResponse, Member, RemoveMemberRequest,
    RemoveMemberResponse, Role, TransferLeadershipRequest, TransferLeadershipResponse,
};
use tidegate_store::{MemberStatus, Role as StoreRole, Store};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::Answers;
use crate::cluster::{Leader, passed_on};
use crate::error;

/// Answers ClusterService.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) store: Store,
    pub(crate) leader: Leader,
}

impl Cluster {
    /// The leader, where this is another configd.
    fn elsewhere<T>(
        &self,
        request: &Request<T>,
    ) -> Result<Option<ClusterServiceClient<Channel>>, Status> {
        let leader = self.leader.channel(request)?;
        Ok(leader.map(ClusterServiceClient::new))
    }
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    type BackupStream = Answers<BackupResponse>;

    async fn backup(
        &self,
        request: Request<BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        if !request.into_inner().stale {
            let linear = self.store.linearize().await;
            linear.map_err(|error| error::store(&error))?;
        }
        let frames = self.store.backup().await;
        let frames = frames.map_err(|error| error::store(&error))?;
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
        }))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        if !request.get_ref().stale
            && let Some(mut leader) = self.elsewhere(&request)?
        {
            return leader.list_members(passed_on(request.into_inner())).await;
        }
        let members = self.store.members().iter().map(member).collect();
        Ok(Response::new(ListMembersResponse { members }))
    }

    async fn add_member(
        &self,
        request: Request<AddMemberRequest>,
    ) -> Result<Response<AddMemberResponse>, Status> {
        if let Some(mut leader) = self.elsewhere(&request)? {
            return leader.add_member(passed_on(request.into_inner())).await;
        }
        let request = request.into_inner();
        let added = self.store.add_member(&request.peer_address).await;
        let id = added.map_err(|error| error::store(&error))?;
        Ok(Response::new(AddMemberResponse { id }))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        if let Some(mut leader) = self.elsewhere(&request)? {
            return leader.remove_member(passed_on(request.into_inner())).await;
        }
        let request = request.into_inner();
        let removed = self.store.remove_member(request.id).await;
        removed.map_err(|error| error::store(&error))?;
        Ok(Response::new(RemoveMemberResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        if let Some(mut leader) = self.elsewhere(&request)? {
            return leader
                .transfer_leadership(passed_on(request.into_inner()))
                .await;
        }
        let request = request.into_inner();
        let transferred = self.store.transfer_leadership(request.id).await;
        transferred.map_err(|error| error::store(&error))?;
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
    }
}

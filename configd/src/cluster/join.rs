//! How a configd with an empty data directory asks for a place in a cluster.

use std::convert::Infallible;
use std::time::Duration;

use tidegate_proto::cluster::v1::AddMemberRequest;
use tidegate_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use tonic::{Request, Status};
use tracing::info;

use super::services;
use crate::listen::Security;

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(2);

/// Time for one answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Asks the members, one after the other and for ever, to add the configd at this peer address. Whoever calls this stops
/// when the place is there.
pub(crate) async fn ask_for_a_place(
    security: &Security,
    members: Vec<String>,
    peer_address: String,
) -> Infallible {
    if members.is_empty() {
        return std::future::pending().await;
    }
    loop {
        for member in &members {
            match ask(security, member, &peer_address).await {
                Ok(id) => info!(
                    member,
                    id, "A member of the cluster has given this configd its id."
                ),
                Err(status) => {
                    info!(
                        member,
                        cause = status.message(),
                        "Waiting for a place in the cluster."
                    );
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(security: &Security, member: &str, peer_address: &str) -> Result<u64, Status> {
    let channel = services(security, member);
    let channel = channel.ok_or_else(|| Status::invalid_argument("this is no URL"))?;
    let mut client = ClusterServiceClient::new(channel);
    let mut request = Request::new(AddMemberRequest {
        peer_address: peer_address.to_owned(),
    });
    request.set_timeout(DEADLINE);
    Ok(client.add_member(request).await?.into_inner().id)
}

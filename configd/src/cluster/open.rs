//! Opens the store of a configd that is one of several.

use std::net::SocketAddr;

use tidegate_store::{OpenOptions, Store};

use super::{PeerOptions, PeerPort, PeerStart, join};
use crate::app::ConfigdError;
use crate::listen::Security;

/// Opens it, waiting for the other founders or for a place where the directory is empty. `api` is where the gRPC services
/// listen.
pub(crate) async fn member(
    options: OpenOptions,
    peers: PeerOptions,
    security: &Security,
    api: Option<SocketAddr>,
) -> Result<(Store, PeerPort), ConfigdError> {
    let asked = match &peers.start {
        PeerStart::Join(members) => members.clone(),
        PeerStart::Found(_) => Vec::new(),
    };
    let (cluster, port) = peers.bind(security, api)?;
    let own = cluster.member.peer_address.clone();
    let opening = Store::open(OpenOptions {
        cluster: Some(cluster),
        ..options
    });
    let store = tokio::select! {
        store = opening => store.map_err(ConfigdError::OpenStore)?,
        never = join::ask_for_a_place(security, asked, own) => match never {},
    };
    Ok((store, port))
}

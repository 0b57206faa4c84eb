//! Who may talk to the peer port of a configd.

use tidegate_proto::raft::v1::IdentifyRequest;
use tidegate_proto::raft::v1::peer_service_client::PeerServiceClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::support::{Cluster, Pki, channel, objects};

async fn identify(channel: Channel) -> Result<u64, Status> {
    let mut client = PeerServiceClient::new(channel);
    let answer = client.identify(IdentifyRequest {}).await?;
    Ok(answer.into_inner().node_id)
}

#[tokio::test]
async fn a_peer_port_takes_configds_of_its_trust_domain_only() {
    let cluster = Cluster::start().await;
    let port = cluster.peers[0];
    let pki = cluster.pki.as_ref().unwrap();
    let taken = identify(channel(port, &pki.credentials("configd/new"))).await;
    assert!(taken.is_ok(), "{taken:?}");

    for other in ["worker/default", "operator/eu-1", "automation/admin/root"] {
        let refused = identify(channel(port, &pki.credentials(other))).await;
        assert!(refused.is_err(), "{other} is no peer");
    }
    let expired = identify(channel(port, &pki.expired("configd/configd-1"))).await;
    assert!(expired.is_err(), "it has expired");
    let folder = tempfile::tempdir().unwrap();
    // The same name and trust domain, by an authority of its own.
    let others = Pki::new(folder.path(), "tidegate.test");
    let foreign = identify(channel(port, &others.credentials("configd/configd-1"))).await;
    assert!(foreign.is_err(), "somebody else has signed it");
    let plain = Endpoint::from_shared(format!("http://{port}")).unwrap();
    let plain = identify(plain.connect_lazy()).await;
    assert!(plain.is_err(), "it has shown nothing");
}

#[tokio::test]
async fn a_configd_whose_certificate_does_not_count_gets_no_place_and_the_others_go_on() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let others = Pki::new(folder.path(), "tidegate.test");
    let stranger = others.credentials("configd/configd-3");
    let refused = identify(channel(cluster.peers[1], &stranger)).await;
    assert!(refused.is_err());
    cluster.apply(0, &objects()).await;
}

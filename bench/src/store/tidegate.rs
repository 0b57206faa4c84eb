//! configd, alone or as a cluster.

use std::path::Path;

use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyRequest, Object, ObjectKey, Operation, operation};
use tonic::transport::Channel;

use super::nodes::Nodes;
use super::object;
use crate::peers::tidegate::free_address;
use crate::process::Process;

const SOURCE: &str = "bench";

/// Starts so many configds without certificates: etcd has none either.
pub(super) fn start(binary: &Path, dir: &Path, count: usize) -> anyhow::Result<Nodes> {
    let mut clients = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..count {
        clients.push(free_address()?);
        peers.push(free_address()?.to_string());
    }
    let mut processes = Vec::new();
    for (index, (client, peer)) in clients.iter().zip(&peers).enumerate() {
        let data = dir.join(format!("n{index}")).display().to_string();
        let mut arguments: Vec<_> = [
            ("data-dir", data),
            ("listen", client.to_string()),
            ("admin", free_address()?.to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [format!("--{flag}"), value])
        .collect();
        arguments.insert(0, "configd".to_owned());
        arguments.push("--insecure-plaintext".to_owned());
        if count > 1 {
            arguments.extend(["--peer-listen".to_owned(), peer.clone()]);
            arguments.extend(["--node-name".to_owned(), format!("n{index}")]);
            arguments.extend(["--initial-cluster".to_owned(), peers.join(",")]);
        }
        let log = dir.join(format!("n{index}.log"));
        processes.push(Process::start_anywhere(binary, &arguments, &log)?);
    }
    Ok(Nodes {
        addresses: clients,
        _processes: processes,
    })
}

/// One batch.
pub(super) async fn put(channel: &Channel, names: &[String], turn: usize) -> anyhow::Result<()> {
    let request = ApplyRequest {
        source: SOURCE.to_owned(),
        operations: names.iter().map(|name| operation(name, turn)).collect(),
        ..ApplyRequest::default()
    };
    ObjectServiceClient::new(channel.clone())
        .apply(request)
        .await?;
    Ok(())
}

fn operation(name: &str, turn: usize) -> Operation {
    let key = ObjectKey {
        source: SOURCE.to_owned(),
        group: String::new(),
        kind: "Service".to_owned(),
        namespace: "bench".to_owned(),
        name: name.to_owned(),
    };
    Operation {
        operation: Some(operation::Operation::Put(Object {
            uid: name.to_owned(),
            key: Some(key),
            generation: i64::try_from(turn).unwrap_or(i64::MAX),
            created_at_unix_s: 1_700_000_000,
            content: object(name, turn).into(),
        })),
        precondition: None,
    }
}

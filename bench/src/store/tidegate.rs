//! configd, alone or as a cluster.

use std::path::Path;

use tidegate_proto::objects::v1::{ObjectKey, WaitFor};
use tonic::transport::Channel;

use super::nodes::Nodes;
use super::object;
use crate::objects;
use crate::peers::tidegate::free_addresses;
use crate::process::Process;

/// Starts so many configds without certificates: etcd has none either.
pub(super) fn start(binary: &Path, dir: &Path, count: usize) -> anyhow::Result<Nodes> {
    let mut clients = free_addresses(3 * count)?;
    let admins = clients.split_off(2 * count);
    let peers: Vec<_> = clients
        .split_off(count)
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut processes = Vec::new();
    for (index, (client, peer)) in clients.iter().zip(&peers).enumerate() {
        let data = dir.join(format!("n{index}")).display().to_string();
        let mut arguments: Vec<_> = [
            ("data-dir", data),
            ("listen", client.to_string()),
            ("admin", admins[index].to_string()),
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
    let puts = names.iter().map(|name| {
        let key = ObjectKey {
            source: objects::SOURCE.to_owned(),
            kind: "Service".to_owned(),
            namespace: "bench".to_owned(),
            name: name.clone(),
            ..ObjectKey::default()
        };
        objects::put_of(key, object(name, turn))
    });
    objects::send(channel, puts.collect(), WaitFor::Unspecified).await
}

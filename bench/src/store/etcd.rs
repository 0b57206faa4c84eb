//! etcd: its processes, and the two calls that are needed of its gRPC interface.

use std::path::Path;

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use super::nodes::Nodes;
use super::object;
use crate::peers::tidegate::free_addresses;
use crate::process::Process;

/// `etcdserverpb.PutRequest`, as far as it is used.
#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `etcdserverpb.RequestOp`.
#[derive(Clone, PartialEq, prost::Message)]
struct RequestOp {
    #[prost(message, optional, tag = "2")]
    put: Option<Put>,
}

/// `etcdserverpb.TxnRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct Txn {
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

/// An answer, of which nothing is read.
#[derive(Clone, PartialEq, prost::Message)]
struct Done {}

/// Starts a cluster of so many nodes, whose transactions may have so many operations.
pub(super) fn start(dir: &Path, count: usize, operations: usize) -> anyhow::Result<Nodes> {
    let mut clients = free_addresses(2 * count)?;
    let peers = clients.split_off(count);
    let cluster: Vec<_> = peers
        .iter()
        .enumerate()
        .map(|(index, peer)| format!("n{index}=http://{peer}"))
        .collect();
    let mut processes = Vec::new();
    for (index, (client, peer)) in clients.iter().zip(&peers).enumerate() {
        let arguments = [
            ("name", format!("n{index}")),
            (
                "data-dir",
                dir.join(format!("n{index}")).display().to_string(),
            ),
            ("listen-client-urls", format!("http://{client}")),
            ("advertise-client-urls", format!("http://{client}")),
            ("listen-peer-urls", format!("http://{peer}")),
            ("initial-advertise-peer-urls", format!("http://{peer}")),
            ("initial-cluster", cluster.join(",")),
            ("max-txn-ops", operations.to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [format!("--{flag}"), value])
        .collect::<Vec<_>>();
        let log = dir.join(format!("n{index}.log"));
        processes.push(Process::start_anywhere(
            Path::new("etcd"),
            &arguments,
            &log,
        )?);
    }
    Ok(Nodes {
        addresses: clients,
        _processes: processes,
    })
}

/// Transactions of so many operations at most, one after the other, since a batch has an order.
pub(super) async fn put_in(
    channel: &Channel,
    operations: usize,
    names: &[String],
    turn: usize,
) -> anyhow::Result<()> {
    for some in names.chunks(operations) {
        put(channel, some, turn).await?;
    }
    Ok(())
}

/// One put, or a transaction of several.
async fn put(channel: &Channel, names: &[String], turn: usize) -> anyhow::Result<()> {
    let mut puts: Vec<_> = names
        .iter()
        .map(|name| Put {
            key: format!("/bench/services/{name}").into_bytes(),
            value: object(name, turn).into_bytes(),
        })
        .collect();
    if puts.len() > 1 {
        let success = puts.into_iter().map(|put| RequestOp { put: Some(put) });
        let txn = Txn {
            success: success.collect(),
        };
        return call(channel, "/etcdserverpb.KV/Txn", txn).await;
    }
    let put = puts.pop().unwrap_or_default();
    call(channel, "/etcdserverpb.KV/Put", put).await
}

async fn call<M>(channel: &Channel, path: &'static str, message: M) -> anyhow::Result<()>
where
    M: prost::Message + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    let codec = ProstCodec::<M, Done>::default();
    let request = tonic::Request::new(message);
    client
        .unary(request, PathAndQuery::from_static(path), codec)
        .await?;
    Ok(())
}

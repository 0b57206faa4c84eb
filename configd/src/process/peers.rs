//! The flags that make a configd one of several.

use std::net::SocketAddr;

use anyhow::bail;
use clap::Args;
use tidegate_runtime::identity::TlsArgs;

use crate::cluster::{PeerOptions, PeerStart};

/// How this configd takes part in a cluster
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct PeerArgs {
    /// Listen here for other configds, and be one of a cluster. They prove themselves by their certificates; without
    /// any, --insecure-plaintext has to be given even on the loopback
    #[arg(long, env = "TIDEGATE_PEER_LISTEN", value_name = "ADDR")]
    peer_listen: Option<SocketAddr>,
    /// Where the other configds reach this one [default: the address of --peer-listen]
    #[arg(
        long,
        env = "TIDEGATE_PEER_ADDRESS",
        value_name = "HOST:PORT",
        requires = "peer_listen"
    )]
    peer_address: Option<String>,
    /// Where clients and the other configds reach the gRPC services [default: the address of --listen]
    #[arg(
        long,
        env = "TIDEGATE_API_ADDRESS",
        value_name = "URL",
        requires = "peer_listen"
    )]
    api_address: Option<String>,
    /// What this configd is called; unique in the cluster
    #[arg(
        long,
        env = "TIDEGATE_NODE_NAME",
        value_name = "NAME",
        default_value = "configd"
    )]
    node_name: String,
    /// The peer addresses of the 1, 3 or 5 configds that found the cluster, this one's among them, in the
    /// same order for all. Counts only while --data-dir is empty [default: this one alone]
    #[arg(
        long,
        env = "TIDEGATE_INITIAL_CLUSTER",
        value_name = "HOST:PORT,...",
        value_delimiter = ',',
        requires = "peer_listen"
    )]
    initial_cluster: Vec<String>,
    /// Become one of an existing cluster: ask for a place at the gRPC services of its configds, or with "wait"
    /// wait for `tidegate cluster add`. Counts only while --data-dir is empty
    #[arg(
        long,
        env = "TIDEGATE_JOIN",
        value_name = "URL,...|wait",
        value_delimiter = ',',
        requires = "peer_listen",
        conflicts_with = "initial_cluster"
    )]
    join: Vec<String>,
}

impl PeerArgs {
    /// What the flags come to; `None` for a configd that is alone.
    ///
    /// # Errors
    /// Whoever reaches a plaintext port may write the log, so that has to be wanted.
    pub(super) fn options(self, tls: &TlsArgs) -> anyhow::Result<Option<PeerOptions>> {
        let Some(listen) = self.peer_listen else {
            return Ok(None);
        };
        if tls.tls_cert.is_none() && !tls.insecure_plaintext {
            bail!(
                "--peer-listen {listen} without a certificate would let whoever reaches it write the log: give \
                 --tls-cert, --tls-key and --tls-ca (`tidegate certs` makes some), or --insecure-plaintext"
            );
        }
        Ok(Some(PeerOptions {
            name: self.node_name,
            listen,
            address: self.peer_address,
            api_address: self.api_address,
            start: match self.join.is_empty() {
                true => PeerStart::Found(self.initial_cluster),
                // "wait" asks nobody.
                false => {
                    PeerStart::Join(self.join.into_iter().filter(|url| url != "wait").collect())
                }
            },
        }))
    }
}

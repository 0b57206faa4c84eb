//! How clients are met: whose word about a client counts, and how a path is read.

use std::num::NonZeroU8;

use clap::Args;
use ipnet::IpNet;
use tidegate_codec::path::PathRules;
use tidegate_ir::ClientTrust;

/// How clients are met, where their listener does not say otherwise.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    /// Whose word about a client's address counts.
    pub trust: ClientTrust,
    /// Connections begin with a PROXY header (versions 1 and 2); those without are closed.
    pub proxy_protocol: bool,
    /// How paths are read.
    pub paths: PathRules,
    /// Requests carry no `Via`: some servers do not compress answers to those that do.
    pub without_via: bool,
}

/// The flags of [`Edge`].
#[derive(Debug, Clone, Args)]
pub struct EdgeArgs {
    /// Proxies in front, each adding its peer to X-Forwarded-For; without it, clients' own headers are replaced
    #[arg(long, value_name = "COUNT", conflicts_with = "trusted_cidrs")]
    trusted_hops: Option<NonZeroU8>,
    /// Addresses of proxies in front, such as 10.0.0.0/8; their forwarding headers count
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    trusted_cidrs: Vec<IpNet>,
    /// Connections begin with a PROXY header, version 1 or 2; those without are closed
    #[arg(long)]
    proxy_protocol: bool,
    /// Keep several slashes in a row, instead of making one of them
    #[arg(long)]
    keep_slashes: bool,
    /// Send no Via header to backends
    #[arg(long)]
    without_via: bool,
}

impl Edge {
    /// The same, save for what a listener says.
    pub(crate) fn under(&self, said: &tidegate_ir::Edge) -> Self {
        Self {
            trust: said.trust.clone().unwrap_or_else(|| self.trust.clone()),
            proxy_protocol: said.proxy_protocol.unwrap_or(self.proxy_protocol),
            paths: PathRules {
                merge_slashes: said.merge_slashes.unwrap_or(self.paths.merge_slashes),
            },
            without_via: said.send_via.map_or(self.without_via, |send| !send),
        }
    }
}

impl From<EdgeArgs> for Edge {
    fn from(args: EdgeArgs) -> Self {
        let trust = match args.trusted_hops {
            Some(hops) => ClientTrust::Hops(hops),
            None if args.trusted_cidrs.is_empty() => ClientTrust::Nobody,
            None => ClientTrust::Networks(args.trusted_cidrs),
        };
        Self {
            trust,
            proxy_protocol: args.proxy_protocol,
            paths: PathRules {
                merge_slashes: !args.keep_slashes,
            },
            without_via: args.without_via,
        }
    }
}

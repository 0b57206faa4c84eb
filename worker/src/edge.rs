//! How clients are met: whose word about a client counts, and how a path is read.

use std::net::IpAddr;
use std::num::NonZeroU8;

use clap::Args;
use ipnet::IpNet;
use tidegate_codec::path::PathRules;

/// How a worker meets its clients.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    /// Whose word about a client's address counts.
    pub trust: Trust,
    /// Connections begin with a PROXY header (versions 1 and 2); those without are closed.
    pub proxy_protocol: bool,
    /// How paths are read.
    pub paths: PathRules,
    /// Requests carry no `Via`: some servers do not compress answers to those that do.
    pub without_via: bool,
}

/// Who stands between the gateway and its clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nobody: the peer is the client.
    #[default]
    Nobody,
    /// So many proxies, each of which adds its peer to `X-Forwarded-For`.
    Hops(NonZeroU8),
    /// The proxies with these addresses.
    Networks(Vec<IpNet>),
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

impl Trust {
    /// Whether this peer is one of the proxies.
    pub(crate) fn includes(&self, peer: IpAddr) -> bool {
        match self {
            Self::Nobody => false,
            Self::Hops(_) => true,
            Self::Networks(networks) => {
                let peer = peer.to_canonical();
                networks.iter().any(|network| network.contains(&peer))
            }
        }
    }
}

impl From<EdgeArgs> for Edge {
    fn from(args: EdgeArgs) -> Self {
        let trust = match args.trusted_hops {
            Some(hops) => Trust::Hops(hops),
            None if args.trusted_cidrs.is_empty() => Trust::Nobody,
            None => Trust::Networks(args.trusted_cidrs),
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

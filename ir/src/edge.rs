//! How clients are met on a listener's port: whose word counts, how paths are read, what is bounded.

use std::num::{NonZeroU8, NonZeroU64};

use ipnet::IpNet;
use serde::Serialize;

/// What a Gateway says about its clients. What is `None` is up to the worker. Listeners of one port say the
/// same: a connection is met before it has chosen one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// Whose word about a client's address counts.
    pub trust: Option<ClientTrust>,
    /// Whether connections begin with a PROXY header, version 1 or 2; those without are closed.
    pub proxy_protocol: Option<bool>,
    /// Whether backends get a `Via` header.
    pub send_via: Option<bool>,
    /// Whether several slashes of a path in a row count as one.
    pub merge_slashes: Option<bool>,
    /// How much a client may take.
    pub bounds: EdgeBounds,
}

/// Who stands between the gateway and its clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub enum ClientTrust {
    /// Nobody: the peer is the client.
    #[default]
    Nobody,
    /// So many proxies, each of which adds its peer to `X-Forwarded-For`.
    Hops(NonZeroU8),
    /// The proxies with these addresses; at least one.
    Networks(Vec<IpNet>),
}

/// How much a client may take, of one worker; sizes in bytes, times in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EdgeBounds {
    /// Bytes of a request line.
    pub request_line_bytes_max: Option<NonZeroU64>,
    /// Bytes of a request's header section.
    pub header_bytes_max: Option<NonZeroU64>,
    /// Header fields of a request.
    pub header_count_max: Option<NonZeroU64>,
    /// Bytes of a request's body.
    pub request_body_bytes_max: Option<Cap>,
    /// How fast a body must come.
    pub body_pace: Option<Pace>,
    /// Time for the headers of a request.
    pub header_timeout_ms: Option<NonZeroU64>,
    /// Time that a connection may be without a request.
    pub idle_timeout_ms: Option<NonZeroU64>,
    /// Time from a request's head to the end of its answer.
    pub request_timeout_ms: Option<Cap>,
    /// Time for a TLS handshake.
    pub handshake_timeout_ms: Option<NonZeroU64>,
    /// Time that a client may read nothing of an answer.
    pub write_stall_timeout_ms: Option<NonZeroU64>,
    /// Connections of the port.
    pub connections_max: Option<NonZeroU64>,
    /// Connections of one client address to the port.
    pub connections_per_client_max: Option<Cap>,
}

/// A bound that can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Cap {
    /// There is none.
    Off,
    /// So much, and no more.
    At(NonZeroU64),
}

/// How fast a body must come while somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pace {
    /// Bytes in each period; 0 asks for nothing.
    pub bytes_min: u64,
    /// The period in milliseconds.
    pub period_ms: NonZeroU64,
}

impl Edge {
    /// These words, and those of `other` where they leave something open.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            trust: self.trust.or(other.trust),
            proxy_protocol: self.proxy_protocol.or(other.proxy_protocol),
            send_via: self.send_via.or(other.send_via),
            merge_slashes: self.merge_slashes.or(other.merge_slashes),
            bounds: self.bounds.or(other.bounds),
        }
    }
}

impl EdgeBounds {
    fn or(self, other: Self) -> Self {
        Self {
            request_line_bytes_max: self.request_line_bytes_max.or(other.request_line_bytes_max),
            header_bytes_max: self.header_bytes_max.or(other.header_bytes_max),
            header_count_max: self.header_count_max.or(other.header_count_max),
            request_body_bytes_max: self.request_body_bytes_max.or(other.request_body_bytes_max),
            body_pace: self.body_pace.or(other.body_pace),
            header_timeout_ms: self.header_timeout_ms.or(other.header_timeout_ms),
            idle_timeout_ms: self.idle_timeout_ms.or(other.idle_timeout_ms),
            request_timeout_ms: self.request_timeout_ms.or(other.request_timeout_ms),
            handshake_timeout_ms: self.handshake_timeout_ms.or(other.handshake_timeout_ms),
            write_stall_timeout_ms: self.write_stall_timeout_ms.or(other.write_stall_timeout_ms),
            connections_max: self.connections_max.or(other.connections_max),
            connections_per_client_max: self
                .connections_per_client_max
                .or(other.connections_per_client_max),
        }
    }
}

impl Edge {
    /// What it says, as named values.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let trust = self.trust.as_ref().map(|trust| match trust {
            ClientTrust::Nobody => "nobody".to_owned(),
            ClientTrust::Hops(hops) => format!("{hops} hops"),
            ClientTrust::Networks(networks) => networks
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        });
        let flag = |flag: Option<bool>| flag.map(|flag| flag.to_string());
        let number = |number: Option<NonZeroU64>| number.map(|number| number.to_string());
        let cap = |cap: Option<Cap>| {
            cap.map(|cap| match cap {
                Cap::Off => "off".to_owned(),
                Cap::At(number) => number.to_string(),
            })
        };
        let bounds = &self.bounds;
        let pace = bounds
            .body_pace
            .map(|pace| format!("{} bytes in {} ms", pace.bytes_min, pace.period_ms));
        let fields = [
            ("trusted proxies", trust),
            ("PROXY protocol", flag(self.proxy_protocol)),
            ("send Via", flag(self.send_via)),
            ("merge slashes", flag(self.merge_slashes)),
            ("request line bytes", number(bounds.request_line_bytes_max)),
            ("header bytes", number(bounds.header_bytes_max)),
            ("header count", number(bounds.header_count_max)),
            ("body bytes", cap(bounds.request_body_bytes_max)),
            ("body pace", pace),
            ("header timeout ms", number(bounds.header_timeout_ms)),
            ("idle timeout ms", number(bounds.idle_timeout_ms)),
            ("request timeout ms", cap(bounds.request_timeout_ms)),
            ("handshake timeout ms", number(bounds.handshake_timeout_ms)),
            (
                "write stall timeout ms",
                number(bounds.write_stall_timeout_ms),
            ),
            ("connections", number(bounds.connections_max)),
            (
                "connections per client",
                cap(bounds.connections_per_client_max),
            ),
        ];
        let set = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        set.collect()
    }
}

impl From<u64> for Cap {
    /// 0 takes the bound away.
    fn from(number: u64) -> Self {
        NonZeroU64::new(number).map_or(Self::Off, Self::At)
    }
}

impl Cap {
    /// The number, 0 where there is no bound.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Off => 0,
            Self::At(number) => number.get(),
        }
    }
}

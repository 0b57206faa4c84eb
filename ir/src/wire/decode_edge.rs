//! From the wire's words about clients to the model.

use std::num::{NonZeroU8, NonZeroU64};

use tidegate_proto::ir::v1 as proto;

use super::InvalidPart;
use super::decode::Decoded;
use crate::{Cap, ClientTrust, Edge, EdgeBounds, Pace};

impl TryFrom<proto::Edge> for Edge {
    type Error = InvalidPart;

    fn try_from(wire: proto::Edge) -> Decoded<Self> {
        let bounds = EdgeBounds::try_from(wire.bounds.unwrap_or_default());
        Ok(Self {
            trust: wire.trust.map(ClientTrust::try_from).transpose()?,
            proxy_protocol: wire.proxy_protocol,
            send_via: wire.send_via,
            merge_slashes: wire.merge_slashes,
            bounds: bounds.map_err(|error| error.inside("edge.bounds"))?,
        })
    }
}

impl TryFrom<proto::ClientTrust> for ClientTrust {
    type Error = InvalidPart;

    fn try_from(wire: proto::ClientTrust) -> Decoded<Self> {
        let field = "edge.trust";
        let hops = u8::try_from(wire.hops).map(NonZeroU8::new);
        let hops = hops.map_err(|_| InvalidPart::new(field, "there are more than 255 hops"))?;
        let networks = wire.networks.iter().map(|network| {
            let refused = || InvalidPart::new(field, format!("{network:?} is no network"));
            network.parse().map_err(|_| refused())
        });
        match (hops, networks.collect::<Decoded<Vec<_>>>()?) {
            (None, networks) if networks.is_empty() => Ok(Self::Nobody),
            (None, networks) => Ok(Self::Networks(networks)),
            (Some(hops), networks) if networks.is_empty() => Ok(Self::Hops(hops)),
            (Some(_), _) => Err(InvalidPart::new(field, "it has both hops and networks")),
        }
    }
}

fn number(field: &str, value: Option<u64>) -> Decoded<Option<NonZeroU64>> {
    let Some(value) = value else { return Ok(None) };
    let refused = || InvalidPart::new(field, "0 would let nothing pass");
    NonZeroU64::new(value).map(Some).ok_or_else(refused)
}

impl TryFrom<proto::EdgeBounds> for EdgeBounds {
    type Error = InvalidPart;

    fn try_from(wire: proto::EdgeBounds) -> Decoded<Self> {
        Ok(Self {
            request_line_bytes_max: number("request_line_bytes_max", wire.request_line_bytes_max)?,
            header_bytes_max: number("header_bytes_max", wire.header_bytes_max)?,
            header_count_max: number("header_count_max", wire.header_count_max)?,
            request_body_bytes_max: wire.request_body_bytes_max.map(Cap::from),
            body_pace: wire.body_pace.map(Pace::try_from).transpose()?,
            header_timeout_ms: number("header_timeout_ms", wire.header_timeout_ms)?,
            idle_timeout_ms: number("idle_timeout_ms", wire.idle_timeout_ms)?,
            request_timeout_ms: wire.request_timeout_ms.map(Cap::from),
            handshake_timeout_ms: number("handshake_timeout_ms", wire.handshake_timeout_ms)?,
            write_stall_timeout_ms: number("write_stall_timeout_ms", wire.write_stall_timeout_ms)?,
            connections_max: number("connections_max", wire.connections_max)?,
            connections_per_client_max: wire.connections_per_client_max.map(Cap::from),
        })
    }
}

impl TryFrom<proto::Pace> for Pace {
    type Error = InvalidPart;

    fn try_from(wire: proto::Pace) -> Decoded<Self> {
        let period = NonZeroU64::new(wire.period_ms);
        Ok(Self {
            bytes_min: wire.bytes_min,
            period_ms: period.ok_or_else(|| InvalidPart::new("body_pace.period_ms", "it is 0"))?,
        })
    }
}

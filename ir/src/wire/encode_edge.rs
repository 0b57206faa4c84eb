//! From the model to the wire's words about clients.

use std::num::NonZeroU64;

use tidegate_proto::ir::v1 as proto;

use crate::{Cap, ClientTrust, Edge, EdgeBounds, Pace};

impl From<&Edge> for proto::Edge {
    fn from(edge: &Edge) -> Self {
        let bounds = &edge.bounds;
        Self {
            trust: edge.trust.as_ref().map(Into::into),
            proxy_protocol: edge.proxy_protocol,
            send_via: edge.send_via,
            merge_slashes: edge.merge_slashes,
            bounds: (*bounds != EdgeBounds::default()).then(|| bounds.into()),
        }
    }
}

impl From<&ClientTrust> for proto::ClientTrust {
    fn from(trust: &ClientTrust) -> Self {
        let (hops, networks) = match trust {
            ClientTrust::Nobody => (0, &[][..]),
            ClientTrust::Hops(hops) => (hops.get(), &[][..]),
            ClientTrust::Networks(networks) => (0, &networks[..]),
        };
        Self {
            hops: hops.into(),
            networks: networks.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&EdgeBounds> for proto::EdgeBounds {
    fn from(bounds: &EdgeBounds) -> Self {
        let number = |number: Option<NonZeroU64>| number.map(NonZeroU64::get);
        let cap = |cap: Option<Cap>| cap.map(Cap::number);
        Self {
            request_line_bytes_max: number(bounds.request_line_bytes_max),
            header_bytes_max: number(bounds.header_bytes_max),
            header_count_max: number(bounds.header_count_max),
            request_body_bytes_max: cap(bounds.request_body_bytes_max),
            body_pace: bounds.body_pace.map(Into::into),
            header_timeout_ms: number(bounds.header_timeout_ms),
            idle_timeout_ms: number(bounds.idle_timeout_ms),
            request_timeout_ms: cap(bounds.request_timeout_ms),
            handshake_timeout_ms: number(bounds.handshake_timeout_ms),
            write_stall_timeout_ms: number(bounds.write_stall_timeout_ms),
            connections_max: number(bounds.connections_max),
            connections_per_client_max: cap(bounds.connections_per_client_max),
        }
    }
}

impl From<Pace> for proto::Pace {
    fn from(pace: Pace) -> Self {
        Self {
            bytes_min: pace.bytes_min,
            period_ms: pace.period_ms.get(),
        }
    }
}

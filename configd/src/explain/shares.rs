//! Where a share of the traffic goes.

use tidegate_ir::{
    Backend, BackendProtocol, Destination, PartName, Security, Snapshot, Target, Trust,
};
use tidegate_proto::explain::v1::Share;

/// Addresses of a share that are named, at most.
const ADDRESSES_MAX: usize = 8;

/// Targets of a snapshot, and what becomes of traffic that none of them gets.
pub(super) struct Targets<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Where a target cannot be used: `500` or `reset`.
    pub(super) refused: &'static str,
    /// Where a backend has no endpoint: `503` or `reset`.
    pub(super) unavailable: &'static str,
}

impl Targets<'_> {
    /// The share of a choice, without filters.
    pub(super) fn share(&self, weight: u32, sum: u64, target: &Target) -> Share {
        Share {
            percent: f64::from(weight) * 100.0 / sum.max(1) as f64,
            ..self.of(target)
        }
    }

    fn of(&self, target: &Target) -> Share {
        let name = match target {
            Target::Fault(reason) => {
                return Share {
                    problem: format!("{}: {reason}", self.refused),
                    ..Share::default()
                };
            }
            Target::Backend(name) => name,
        };
        let Some(backend) = self.snapshot.backend(name) else {
            return Share {
                backend: name.to_string(),
                ..Share::default()
            };
        };
        let share = Share {
            backend: object_text(backend),
            ..Share::default()
        };
        match (&backend.security, &backend.destination) {
            (Security::Broken(reason), _) => Share {
                problem: format!("{}: {reason}", self.refused),
                ..share
            },
            (_, Destination::Endpoints(set)) => self.with_addresses(share, set),
            (_, Destination::Dns { hostname, port }) => Share {
                dns_name: format!("{hostname}:{port}"),
                ..share
            },
        }
    }

    fn with_addresses(&self, share: Share, set: &PartName) -> Share {
        let set = self.snapshot.endpoint_set(set);
        let endpoints = set.map(|set| set.endpoints.as_slice()).unwrap_or_default();
        if endpoints.is_empty() {
            let problem = format!("{}: it has no endpoint", self.unavailable);
            return Share { problem, ..share };
        }
        let first = endpoints.iter().take(ADDRESSES_MAX);
        Share {
            addresses: first.map(|endpoint| endpoint.address.to_string()).collect(),
            addresses_total: u32::try_from(endpoints.len()).unwrap_or(u32::MAX),
            ..share
        }
    }
}

fn object_text(backend: &Backend) -> String {
    format!(
        "{} {} port {}{}",
        backend.kind.object_kind(),
        backend.object,
        backend.port,
        connection_text(backend)
    )
}

/// How the backend is spoken to, unless in plain, by HTTP/1.1 or as bytes.
fn connection_text(backend: &Backend) -> String {
    let protocol = match backend.protocol {
        BackendProtocol::Http1 | BackendProtocol::Tcp => "",
        BackendProtocol::Http2 => ", HTTP/2",
        BackendProtocol::Udp => ", UDP",
    };
    match &backend.security {
        Security::Plain | Security::Broken(_) => protocol.to_owned(),
        Security::Tls(tls) => {
            let trust = match &tls.trust {
                Trust::Bundle(name) => format!("the authorities of {name}"),
                Trust::System => "the system's authorities".to_owned(),
            };
            format!("{protocol}, TLS as {} trusting {trust}", tls.server_name)
        }
    }
}

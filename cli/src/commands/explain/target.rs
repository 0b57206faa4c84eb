//! Where a share of the traffic goes, as text.

use tidegate_ir::{
    Backend, BackendProtocol, Destination, PartName, Security, Snapshot, Target, Trust,
};

use crate::desired::ECHO_PLACEHOLDER;

/// Targets of a snapshot, and what becomes of traffic that none of them gets.
pub(super) struct Targets<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Where a target cannot be used: `500` or `reset`.
    pub(super) refused: &'static str,
    /// Where a backend has no endpoint: `503` or `reset`.
    pub(super) unavailable: &'static str,
}

impl Targets<'_> {
    /// A line for each choice, with its share.
    pub(super) fn share(&self, weight: u32, sum: u64, target: &Target) -> String {
        let share = f64::from(weight) * 100.0 / sum.max(1) as f64;
        format!("{share:>5.1} %  {}", self.text(target))
    }

    fn text(&self, target: &Target) -> String {
        let name = match target {
            Target::Fault(reason) => return format!("{}: {reason}", self.refused),
            Target::Backend(name) => name,
        };
        let Some(backend) = self.snapshot.backend(name) else {
            return name.to_string();
        };
        let object = format!(
            "{} {} port {}{}",
            backend.kind.object_kind(),
            backend.object,
            backend.port,
            connection_text(backend)
        );
        let addresses = match (&backend.security, &backend.destination) {
            (Security::Broken(reason), _) => format!("{}: {reason}", self.refused),
            (_, Destination::Endpoints(set)) => self.addresses(set),
            (_, Destination::Dns { hostname, port }) => {
                format!("{hostname}:{port}, looked up in the DNS")
            }
        };
        format!("{object} → {addresses}")
    }

    fn addresses(&self, set: &PartName) -> String {
        let set = self.snapshot.endpoint_set(set);
        let endpoints = set.map(|set| set.endpoints.as_slice()).unwrap_or_default();
        let addresses: Vec<_> = endpoints
            .iter()
            .map(|endpoint| match endpoint.address {
                ECHO_PLACEHOLDER => "the built-in echo backend".to_owned(),
                address => address.to_string(),
            })
            .collect();
        match addresses.len() {
            0 => format!("{}: it has no endpoint", self.unavailable),
            1..=8 => addresses.join(", "),
            n => format!("{}, and {} more", addresses[..8].join(", "), n - 8),
        }
    }
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

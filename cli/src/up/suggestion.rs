//! What a user may try with the configuration that is served.

use std::net::SocketAddr;

use tidegate_ir::{Action, Hostname, L4RouteKind, PathMatch, Rule, Snapshot};
use tidegate_worker::BoundListener;

/// A request that some rule answers.
pub(super) struct Request {
    url: String,
    host: Option<String>,
    address: SocketAddr,
}

impl Request {
    /// The first one that a route forwards.
    pub(super) fn answered(snapshot: &Snapshot, bound: &[BoundListener]) -> Option<Self> {
        for route in snapshot.routes() {
            for attachment in &route.attachments {
                let listener = bound
                    .iter()
                    .find(|bound| bound.listener == attachment.listener);
                let (Some(listener), Some(claim)) = (listener, attachment.hosts.first()) else {
                    continue;
                };
                let Some(path) = route.rules.iter().find_map(plain_path) else {
                    continue;
                };
                let scheme = if listener.tls { "https" } else { "http" };
                return Some(Self {
                    url: format!("{}{path}", url(scheme, listener)),
                    host: example_of(&claim.host),
                    address: listener.address,
                });
            }
        }
        None
    }

    /// The command that sends it.
    pub(super) fn curl(&self) -> String {
        let is_secure = self.url.starts_with("https");
        match &self.host {
            Some(host) if is_secure => {
                let port = self.address.port();
                let url = self.url.replace("localhost", host);
                format!("curl -k --resolve {host}:{port}:127.0.0.1 {url}")
            }
            _ if is_secure => format!("curl -k {}", self.url),
            _ => format!("curl{} {}", self.header(), self.url),
        }
    }

    /// The command that says what becomes of it.
    pub(super) fn explain(&self) -> String {
        format!("tidegate explain GET {}{}", self.url, self.header())
    }

    fn header(&self) -> String {
        let header = |host| format!(" -H 'Host: {host}'");
        self.host.as_ref().map(header).unwrap_or_default()
    }
}

/// A connection or datagram that some route of layer 4 is for, as `tidegate explain` takes it.
pub(super) fn flow_with_route(snapshot: &Snapshot, bound: &[BoundListener]) -> Option<String> {
    snapshot.l4_routes().find_map(|route| {
        route.attachments.iter().find_map(|attachment| {
            let mut listeners = bound.iter();
            let listener = listeners.find(|bound| bound.listener == attachment.listener)?;
            let port = listener.address.port();
            let host = attachment.hosts.first().map(|claim| &claim.host);
            let host = host.and_then(example_of).unwrap_or_default();
            Some(match route.kind {
                L4RouteKind::Tls => format!("tls://{host}:{port}"),
                L4RouteKind::Tcp => format!("tcp://:{port}"),
                L4RouteKind::Udp => format!("udp://:{port}"),
            })
        })
    })
}

/// The scheme and place of a listener, as they begin a URL.
pub(super) fn url(scheme: &str, listener: &BoundListener) -> String {
    let address = listener.address;
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

/// The path of a match that asks for nothing else, if the rule forwards.
fn plain_path(rule: &Rule) -> Option<&str> {
    if !matches!(rule.action, Action::Forward(_)) {
        return None;
    }
    rule.matches.iter().find_map(|condition| {
        let is_plain = condition.headers.is_empty() && condition.query_params.is_empty();
        match &condition.path {
            PathMatch::Exact(path) | PathMatch::Prefix(path) if is_plain => Some(path.as_ref()),
            _ => None,
        }
    })
}

/// A host that fits, unless every one does.
fn example_of(host: &Hostname) -> Option<String> {
    match host {
        Hostname::Any => None,
        Hostname::Exact(host) => Some(host.to_string()),
        wildcard => Some(wildcard.to_string().replacen('*', "www", 1)),
    }
}

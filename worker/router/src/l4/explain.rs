//! Why a connection or datagram goes where it goes: every listener and every candidate route.

use tidegate_ir::{Hostname, L4RouteKind, ListenerProtocol, ObjectName, PartName};

use super::{L4Listener, SniDecision};
use crate::explain::ListenerVerdict;
use crate::host::lower_case;
use crate::table::Table;

/// What arrives at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum L4Request<'r> {
    /// A TCP connection that begins with a ClientHello for that server name, empty for none.
    Tls(&'r str),
    /// A TCP connection.
    Tcp,
    /// A datagram.
    Udp,
}

/// The whole decision on what arrives at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L4Explanation {
    /// Version of the snapshot.
    pub version: u64,
    /// Every listener of the snapshot, ordered by name.
    pub listeners: Vec<(PartName, ListenerVerdict)>,
    /// Every route of the chosen listener that claims what arrives, in the order in which they win; none
    /// where an HTTPS listener is chosen.
    pub candidates: Vec<L4Candidate>,
}

/// One route's claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L4Candidate {
    /// Kind of the route object.
    pub kind: L4RouteKind,
    /// The route object.
    pub route: ObjectName,
    /// Name of its only rule, or `0`.
    pub rule: String,
    /// The host under which it was found.
    pub host: Hostname,
    /// The route's own hostname.
    pub claimed: Hostname,
    /// Why it won or lost.
    pub verdict: L4Verdict,
}

/// Why a candidate won or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum L4Verdict {
    /// It gets what arrives.
    Won,
    /// The winner claims a more specific host.
    LessSpecific,
    /// The winner claims the same host and is older, or comes first by name.
    Younger,
}

impl L4Explanation {
    /// The candidate that won, if any did.
    pub fn winner(&self) -> Option<&L4Candidate> {
        self.candidates.first()
    }
}

/// Explains the decisions of [`super::L4Table`].
pub fn explain_l4(table: &Table, bind_port: u16, request: L4Request<'_>) -> L4Explanation {
    let name = match request {
        L4Request::Tls(name) => lower_case(name),
        L4Request::Tcp | L4Request::Udp => "".into(),
    };
    let (chosen, l4) = chosen(table, bind_port, request, &name);
    let verdict = |listener: &tidegate_ir::Listener| {
        let hostname = listener.hostname.clone();
        if chosen.as_ref() == Some(&listener.name) {
            ListenerVerdict::Chosen
        } else if listener.bind_port != bind_port {
            let port = listener.bind_port;
            ListenerVerdict::OtherPort { port }
        } else if !arrives_at(request, &listener.protocol) {
            let protocol = listener.protocol.name();
            ListenerVerdict::OtherProtocol { protocol }
        } else if hostname.matches(&name) {
            ListenerVerdict::LessSpecific { hostname }
        } else {
            ListenerVerdict::OtherHost { hostname }
        }
    };
    let listeners = table.all_listeners();
    L4Explanation {
        version: table.version,
        listeners: listeners.map(|l| (l.name.clone(), verdict(l))).collect(),
        candidates: l4.map_or_else(Vec::new, |listener| candidates(listener, &name)),
    }
}

/// Name of the listener that gets what arrives, and the listener itself if it is one of layer 4.
fn chosen<'t>(
    table: &'t Table,
    bind_port: u16,
    request: L4Request<'_>,
    name: &str,
) -> (Option<PartName>, Option<&'t L4Listener>) {
    let l4 = match request {
        L4Request::Tcp => table.l4().tcp(bind_port),
        L4Request::Udp => table.l4().udp(bind_port),
        L4Request::Tls(_) => match table
            .l4()
            .tls(bind_port)
            .map(|port| port.decide(Some(name)))
        {
            Some(SniDecision::NoListener) => None,
            Some(
                SniDecision::Terminate(listener, _)
                | SniDecision::Passthrough(listener, _)
                | SniDecision::NoRoute(listener),
            ) => Some(listener),
            Some(SniDecision::Https) | None => {
                let https = table.listener(bind_port, name).map(|https| &https.listener);
                let https = https.filter(|https| https.protocol.ends_tls_with().is_some());
                return (https.map(|https| https.name.clone()), None);
            }
        },
    };
    let name = l4.map(|listener| listener.listener.name.clone());
    (name, l4.map(|listener| &**listener))
}

fn arrives_at(request: L4Request<'_>, protocol: &ListenerProtocol) -> bool {
    match protocol {
        ListenerProtocol::Http | ListenerProtocol::Tcp => request == L4Request::Tcp,
        ListenerProtocol::Https { .. } | ListenerProtocol::Tls(_) => {
            matches!(request, L4Request::Tls(_))
        }
        ListenerProtocol::Udp => request == L4Request::Udp,
    }
}

fn candidates(listener: &L4Listener, name: &str) -> Vec<L4Candidate> {
    let mut winner: Option<(&Hostname, &Hostname)> = None;
    let claims = listener.candidates(name).map(|claim| {
        let own = (&claim.host, &claim.claimed);
        let verdict = match winner {
            None => L4Verdict::Won,
            Some(winner) if winner == own => L4Verdict::Younger,
            Some(_) => L4Verdict::LessSpecific,
        };
        winner.get_or_insert(own);
        L4Candidate {
            kind: claim.target.kind,
            route: claim.target.route.clone(),
            rule: claim.target.rule.to_string(),
            host: claim.host.clone(),
            claimed: claim.claimed.clone(),
            verdict,
        }
    });
    claims.collect()
}

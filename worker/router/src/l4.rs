//! Where connections and datagrams of layer 4 go: by port, and on ports with TLS listeners by server name.

mod explain;
mod target;
mod tls;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_ir::{
    Digest, Hostname, Listener, ListenerProtocol, PartKey, PartKind, PartName, Snapshot,
};

pub use explain::{L4Candidate, L4Explanation, L4Request, L4Verdict, explain_l4};
pub use target::L4Target;
pub use tls::{SniDecision, TlsPort};

use crate::host::HostMap;
use crate::table::Problem;
use tls::Named;

/// The listeners of layer 4 by port, with the routes that they serve.
#[derive(Debug, Default)]
pub struct L4Table {
    tcp: HashMap<u16, Arc<L4Listener>>,
    udp: HashMap<u16, Arc<L4Listener>>,
    tls: HashMap<u16, TlsPort>,
    /// Ordered by name.
    listeners: Vec<Arc<L4Listener>>,
    targets: BTreeMap<PartName, (Digest, Arc<L4Target>)>,
}

/// A TLS, TCP or UDP listener with the routes that are attached to it.
#[derive(Debug)]
pub struct L4Listener {
    /// The listener.
    pub listener: Listener,
    claims: HostMap<Box<[Claim]>>,
}

/// A route's claim to a server name on a listener; on TCP and UDP listeners to all that comes.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) host: Hostname,
    pub(crate) claimed: Hostname,
    pub(crate) target: Arc<L4Target>,
}

/// The claims on each listener by server name.
type Claims<'s> = BTreeMap<&'s PartName, BTreeMap<Hostname, Vec<Claim>>>;

impl L4Table {
    /// Builds the table of a snapshot; targets of routes that did not change are taken from `previous`,
    /// so that their shares go on where they were. What cannot be served is added to `problems`.
    pub(crate) fn build(
        snapshot: &Snapshot,
        previous: Option<&Self>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut table = Self::default();
        table.build_targets(snapshot, previous, problems);
        table.build_listeners(snapshot);
        table.build_ports(snapshot, problems);
        table
    }

    /// The TCP listener of a port.
    pub fn tcp(&self, bind_port: u16) -> Option<&Arc<L4Listener>> {
        self.tcp.get(&bind_port)
    }

    /// The UDP listener of a port.
    pub fn udp(&self, bind_port: u16) -> Option<&Arc<L4Listener>> {
        self.udp.get(&bind_port)
    }

    /// The TLS listeners of a port, together with the HTTPS ones; `None` where it has no TLS listener, so
    /// that nobody has to read a ClientHello there before the handshake.
    pub fn tls(&self, bind_port: u16) -> Option<&TlsPort> {
        self.tls.get(&bind_port)
    }

    /// The listeners of all ports, ordered by name.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<L4Listener>> {
        self.listeners.iter()
    }

    fn build_targets(
        &mut self,
        snapshot: &Snapshot,
        previous: Option<&Self>,
        problems: &mut Vec<Problem>,
    ) {
        for route in snapshot.l4_routes() {
            let part = PartKey::new(PartKind::L4Route, route.part_name());
            let Some(digest) = snapshot.get(&part).map(|part| part.digest()) else {
                continue;
            };
            let known = previous.and_then(|table| table.targets.get(&part.name));
            let known = known.filter(|(known, _)| *known == digest);
            let target = match known {
                Some((_, target)) => Ok(target.clone()),
                None => L4Target::new(route).map(Arc::new),
            };
            match target {
                Ok(target) => drop(self.targets.insert(part.name, (digest, target))),
                Err(message) => problems.push(Problem { part, message }),
            }
        }
    }

    fn build_listeners(&mut self, snapshot: &Snapshot) {
        let mut claims = self.claims(snapshot);
        let listeners = snapshot.listeners();
        let listeners = listeners.filter(|listener| !listener.protocol.is_http());
        let listeners = listeners.map(|listener| {
            let claims = claims.remove(&listener.name).unwrap_or_default();
            Arc::new(L4Listener::new(listener.clone(), claims))
        });
        self.listeners = listeners.collect();
    }

    fn claims<'s>(&self, snapshot: &'s Snapshot) -> Claims<'s> {
        let mut claims = Claims::new();
        for route in snapshot.l4_routes() {
            let Some((_, target)) = self.targets.get(&route.part_name()) else {
                continue;
            };
            for attachment in &route.attachments {
                let listener = claims.entry(&attachment.listener).or_default();
                for host in &attachment.hosts {
                    listener.entry(host.host.clone()).or_default().push(Claim {
                        host: host.host.clone(),
                        claimed: host.claimed.clone(),
                        target: target.clone(),
                    });
                }
            }
        }
        claims
    }

    fn build_ports(&mut self, snapshot: &Snapshot, problems: &mut Vec<Problem>) {
        let mut names: BTreeMap<u16, BTreeMap<Hostname, Named>> = BTreeMap::new();
        for l4 in &self.listeners {
            let listener = &l4.listener;
            let ports = match &listener.protocol {
                ListenerProtocol::Http | ListenerProtocol::Https { .. } => continue,
                ListenerProtocol::Tcp => &mut self.tcp,
                ListenerProtocol::Udp => &mut self.udp,
                ListenerProtocol::Tls(_) => {
                    let names = names.entry(listener.bind_port).or_default();
                    let before = names.insert(listener.hostname.clone(), Named::Tls(l4.clone()));
                    problems.extend(before.map(|_| taken(listener)));
                    continue;
                }
            };
            match ports.entry(listener.bind_port) {
                Entry::Vacant(port) => drop(port.insert(l4.clone())),
                Entry::Occupied(_) => problems.push(taken(listener)),
            }
        }
        for listener in snapshot.listeners() {
            let bytes = self.tcp.contains_key(&listener.bind_port);
            let names = names.get_mut(&listener.bind_port);
            let is_taken = match (&listener.protocol, names) {
                (ListenerProtocol::Udp | ListenerProtocol::Tcp, _) => false,
                (ListenerProtocol::Tls(_), _) => bytes,
                (ListenerProtocol::Http, names) => bytes || names.is_some(),
                (ListenerProtocol::Https { .. }, None) => bytes,
                (ListenerProtocol::Https { .. }, Some(names)) => {
                    let before = names.insert(listener.hostname.clone(), Named::Https);
                    bytes || before.is_some()
                }
            };
            problems.extend(is_taken.then(|| taken(listener)));
        }
        let ports = names.into_iter();
        self.tls = ports.map(|(port, n)| (port, TlsPort::new(n))).collect();
    }
}

fn taken(listener: &Listener) -> Problem {
    let port = listener.bind_port;
    Problem {
        part: PartKey::new(PartKind::Listener, listener.name.clone()),
        message: format!("another listener of port {port} leaves it nothing of what arrives there"),
    }
}

impl L4Listener {
    fn new(listener: Listener, claims: BTreeMap<Hostname, Vec<Claim>>) -> Self {
        let in_order = |(host, mut claims): (Hostname, Vec<Claim>)| {
            claims.sort_by(|a, b| {
                let specificity = b.claimed.cmp_specificity(&a.claimed);
                specificity.then_with(|| a.target.order().cmp(b.target.order()))
            });
            (host, claims.into())
        };
        Self {
            listener,
            claims: HostMap::new(claims.into_iter().map(in_order).collect()),
        }
    }

    /// The route that gets what arrives: on a TLS listener the one that claims the server name (lower
    /// case, empty where the client sent none) most specifically; among equals the oldest.
    pub fn target(&self, server_name: &str) -> Option<&Arc<L4Target>> {
        self.candidates(server_name)
            .next()
            .map(|claim| &claim.target)
    }

    /// The claims to exactly that host, in the order in which they win.
    pub(crate) fn claims(&self, host: &Hostname) -> &[Claim] {
        self.claims.get(host).map_or(&[], |claims| claims)
    }

    /// The claims to a server name, in the order in which they win.
    pub(crate) fn candidates(&self, server_name: &str) -> impl Iterator<Item = &Claim> {
        self.claims.matching(server_name).flatten()
    }
}

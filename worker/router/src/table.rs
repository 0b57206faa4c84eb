//! The routing table of one snapshot.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidegate_ir::{
    Digest, HostClaim, Hostname, Listener, Part, PartKey, PartKind, PartName, Precedence, Snapshot,
};

use crate::filter::CompiledFilters;
use crate::host::HostMap;
use crate::l4::L4Table;
use crate::matcher::CompiledMatch;
use crate::path::PathIndex;
use crate::rule::{CompiledRoute, CompiledRule};

/// Everything that decides where requests go; immutable, shared by all threads.
#[derive(Debug)]
pub struct Table {
    /// Version of the snapshot that it was built from.
    pub version: u64,
    ports: HashMap<u16, HostMap<Arc<ListenerTable>>>,
    /// The HTTP and HTTPS ones, ordered by name.
    listeners: Vec<Arc<ListenerTable>>,
    routes: BTreeMap<PartName, BuiltRoute>,
    hosts: BTreeMap<(PartName, Hostname), Arc<HostTable>>,
    l4: L4Table,
    problems: Vec<Problem>,
}

/// What keeps a snapshot from being served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The part that is wrong.
    pub part: PartKey,
    /// One sentence with the cause.
    pub message: String,
}

/// A listener with the hosts that its routes claim.
#[derive(Debug)]
pub struct ListenerTable {
    /// The listener.
    pub listener: Listener,
    /// Run before a route is looked for, in this order.
    pub filters: CompiledFilters,
    pub(crate) hosts: HostMap<Arc<HostTable>>,
}

/// The rules of one host on one listener, in the order in which they win.
#[derive(Debug)]
pub(crate) struct HostTable {
    pub(crate) host: Hostname,
    /// What it was built from: equal claims make an equal table.
    claims: Box<[(Digest, Hostname)]>,
    pub(crate) entries: Box<[Entry]>,
    pub(crate) index: PathIndex,
}

/// One match of one rule; its place among the entries is its precedence.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) rule: Arc<CompiledRule>,
    pub(crate) match_index: usize,
    pub(crate) claimed: Hostname,
}

/// A route with what it was built from.
#[derive(Debug)]
struct BuiltRoute {
    digest: Digest,
    part: Arc<Part>,
    compiled: Arc<CompiledRoute>,
}

impl BuiltRoute {
    /// The hosts that it claims, with their listeners.
    fn claims(&self) -> impl Iterator<Item = (&PartName, &HostClaim)> {
        let attachments = match &*self.part {
            Part::Route(route) => &*route.attachments,
            _ => &[],
        };
        attachments.iter().flat_map(|attachment| {
            let hosts = attachment.hosts.iter();
            hosts.map(|host| (&attachment.listener, host))
        })
    }
}

/// Hosts by listener.
type Hosts<'t> = HashMap<&'t PartName, HashSet<&'t Hostname>>;

/// A route's claim to a host while tables are built.
struct Claim<'t> {
    digest: Digest,
    claimed: &'t Hostname,
    route: Arc<CompiledRoute>,
}

impl Table {
    /// Builds the table of a snapshot; compiled routes and hosts whose parts did not change are taken
    /// from `previous`. What cannot be served is listed in [`Self::problems`].
    pub fn build(snapshot: &Snapshot, previous: Option<&Self>) -> Self {
        let mut table = Self {
            version: snapshot.version,
            ports: HashMap::new(),
            listeners: Vec::new(),
            routes: BTreeMap::new(),
            hosts: BTreeMap::new(),
            l4: L4Table::default(),
            problems: Vec::new(),
        };
        table.compile_routes(snapshot, previous);
        table.build_hosts(previous);
        table.build_listeners(snapshot);
        let previous = previous.map(|table| &table.l4);
        table.l4 = L4Table::build(snapshot, previous, &mut table.problems);
        table
    }

    /// What keeps the snapshot from being served; empty for what the control plane compiles.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The HTTP and HTTPS listeners of all ports, ordered by name.
    pub fn listeners(&self) -> impl Iterator<Item = &ListenerTable> {
        self.listeners.iter().map(|listener| &**listener)
    }

    /// Where connections and datagrams of layer 4 go.
    pub fn l4(&self) -> &L4Table {
        &self.l4
    }

    /// Every listener of the snapshot, ordered by name.
    pub(crate) fn all_listeners(&self) -> impl Iterator<Item = &Listener> {
        let http = self.listeners().map(|listener| &listener.listener);
        let l4 = self.l4.listeners().map(|listener| &listener.listener);
        let mut all: Vec<_> = http.chain(l4).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.into_iter()
    }

    /// The rules of each host of each HTTP or HTTPS listener, ordered by both.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (&PartName, &HostTable)> {
        self.hosts
            .iter()
            .map(|((listener, _), host)| (listener, &**host))
    }

    /// The most specific HTTP or HTTPS listener of a port for a host (as [`crate::host_of`] returns it).
    pub fn listener(&self, bind_port: u16, host: &str) -> Option<&Arc<ListenerTable>> {
        self.ports.get(&bind_port)?.matching(host).next()
    }

    fn compile_routes(&mut self, snapshot: &Snapshot, previous: Option<&Self>) {
        let mut known = previous.map(|table| table.routes.iter().peekable());
        let mut routes = Vec::new();
        // Both are in order.
        for part in snapshot.parts_of(PartKind::Route) {
            let Part::Route(route) = &**part.part() else {
                continue;
            };
            let name = &part.key().name;
            let known = known.as_mut().and_then(|known| {
                while known.next_if(|(before, _)| *before < name).is_some() {}
                known.next_if(|(before, _)| *before == name)
            });
            let unchanged = known.filter(|(_, known)| known.digest == part.digest());
            let compiled = match unchanged {
                Some((_, known)) => Ok(known.compiled.clone()),
                None => CompiledRoute::new(route).map(Arc::new),
            };
            match compiled {
                Ok(compiled) => {
                    let (digest, part) = (part.digest(), part.part().clone());
                    let built = BuiltRoute {
                        digest,
                        part,
                        compiled,
                    };
                    routes.push((name.clone(), built));
                }
                Err(message) => self.problems.push(Problem {
                    part: part.key().clone(),
                    message,
                }),
            }
        }
        self.routes = routes.into_iter().collect();
    }

    /// Builds the tables of the hosts that are claimed otherwise than before; the others are those from before.
    fn build_hosts(&mut self, previous: Option<&Self>) {
        let touched = previous.map(|previous| touched(&previous.routes, &self.routes));
        let is_touched = |listener: &PartName, host: &Hostname| {
            let hosts = touched.as_ref().map(|touched| touched.get(listener));
            hosts.is_none_or(|hosts| hosts.is_some_and(|hosts| hosts.contains(host)))
        };
        let mut claims: BTreeMap<(PartName, Hostname), Vec<Claim<'_>>> = BTreeMap::new();
        for route in self.routes.values() {
            for (listener, host) in route.claims() {
                if is_touched(listener, &host.host) {
                    let key = (listener.clone(), host.host.clone());
                    claims.entry(key).or_default().push(Claim {
                        digest: route.digest,
                        claimed: &host.claimed,
                        route: route.compiled.clone(),
                    });
                }
            }
        }
        let mut hosts = previous.map_or_else(BTreeMap::new, |previous| previous.hosts.clone());
        hosts.retain(|(listener, host), _| !is_touched(listener, host));
        for (key, claims) in claims {
            let before = previous.and_then(|table| table.hosts.get(&key));
            let host = before.filter(|host| host.is_built_from(&claims)).cloned();
            let host = host.unwrap_or_else(|| Arc::new(HostTable::new(key.1.clone(), &claims)));
            hosts.insert(key, host);
        }
        self.hosts = hosts;
    }

    fn build_listeners(&mut self, snapshot: &Snapshot) {
        let mut ports: BTreeMap<u16, BTreeMap<Hostname, Arc<ListenerTable>>> = BTreeMap::new();
        let mut hosts: BTreeMap<&PartName, BTreeMap<Hostname, Arc<HostTable>>> = BTreeMap::new();
        for ((listener, host), table) in &self.hosts {
            hosts
                .entry(listener)
                .or_default()
                .insert(host.clone(), table.clone());
        }
        let listeners = snapshot.listeners();
        for listener in listeners.filter(|listener| listener.protocol.is_http()) {
            let hosts = hosts.remove(&listener.name).unwrap_or_default();
            let hosts = HostMap::new(hosts);
            let part = PartKey::new(PartKind::Listener, listener.name.clone());
            let filters =
                CompiledFilters::of_listener(&listener.filters).unwrap_or_else(|problem| {
                    let message = format!("filters: {problem}");
                    self.problems.push(Problem {
                        part: part.clone(),
                        message,
                    });
                    CompiledFilters::default()
                });
            let table = Arc::new(ListenerTable {
                listener: listener.clone(),
                filters,
                hosts,
            });
            self.listeners.push(table.clone());
            let port = ports.entry(listener.bind_port).or_default();
            if let Some(other) = port.insert(listener.hostname.clone(), table) {
                let message = format!(
                    "port {} and hostname {} are those of listener {} as well",
                    listener.bind_port, listener.hostname, other.listener.name
                );
                self.problems.push(Problem { part, message });
            }
        }
        self.ports = ports
            .into_iter()
            .map(|(port, hosts)| (port, HostMap::new(hosts)))
            .collect();
    }
}

impl ListenerTable {
    /// Whether any route claims this host on the listener.
    pub fn serves(&self, host: &str) -> bool {
        self.hosts.matching(host).next().is_some()
    }
}

impl HostTable {
    fn new(host: Hostname, claims: &[Claim<'_>]) -> Self {
        let mut entries: Vec<(Precedence, &Claim<'_>, Entry)> = Vec::new();
        for claim in claims {
            for rule in &claim.route.rules {
                for (match_index, matching) in rule.matches.iter().enumerate() {
                    let claimed = claim.claimed.clone();
                    let entry = Entry {
                        rule: rule.clone(),
                        match_index,
                        claimed,
                    };
                    entries.push((matching.source().precedence(), claim, entry));
                }
            }
        }
        entries.sort_by(
            |(precedence, claim, entry), (other_precedence, other_claim, other)| {
                let specificity = other.claimed.cmp_specificity(&entry.claimed);
                specificity
                    .then(Reverse(precedence).cmp(&Reverse(other_precedence)))
                    .then_with(|| claim.route.order.cmp(&other_claim.route.order))
                    .then(entry.rule.index.cmp(&other.rule.index))
                    .then(entry.match_index.cmp(&other.match_index))
            },
        );
        let entries: Box<[Entry]> = entries.into_iter().map(|(_, _, entry)| entry).collect();
        let mut index = PathIndex::default();
        for (place, entry) in (0..).zip(&entries) {
            index.add(place, &entry.matching().source().path);
        }
        Self {
            host,
            claims: signature(claims),
            entries,
            index,
        }
    }

    fn is_built_from(&self, claims: &[Claim<'_>]) -> bool {
        self.claims.len() == claims.len()
            && self
                .claims
                .iter()
                .zip(claims)
                .all(|((digest, claimed), claim)| {
                    *digest == claim.digest && claimed == claim.claimed
                })
    }
}

impl Entry {
    pub(crate) fn matching(&self) -> &CompiledMatch {
        &self.rule.matches[self.match_index]
    }
}

/// The hosts that routes claim which are not the same in both.
fn touched<'t>(
    before: &'t BTreeMap<PartName, BuiltRoute>,
    now: &'t BTreeMap<PartName, BuiltRoute>,
) -> Hosts<'t> {
    let mut touched = Hosts::new();
    let mut touch = |route: &'t BuiltRoute| {
        for (listener, host) in route.claims() {
            touched.entry(listener).or_default().insert(&host.host);
        }
    };
    let mut older = before.iter().peekable();
    // Both are in order.
    for (name, route) in now {
        while let Some((_, gone)) = older.next_if(|(before, _)| *before < name) {
            touch(gone);
        }
        let known = older.next_if(|(before, _)| *before == name);
        let known = known.map(|(_, known)| known);
        if known.is_none_or(|known| known.digest != route.digest) {
            touch(route);
            known.into_iter().for_each(&mut touch);
        }
    }
    older.for_each(|(_, gone)| touch(gone));
    touched
}

fn signature(claims: &[Claim<'_>]) -> Box<[(Digest, Hostname)]> {
    claims
        .iter()
        .map(|claim| (claim.digest, claim.claimed.clone()))
        .collect()
}

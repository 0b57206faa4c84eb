//! The routing table of one snapshot.

mod host_table;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tidegate_ir::{
    Difference, EncodedPart, HostClaim, Hostname, Listener, Part, PartKey, PartKind, PartName,
    PersistentMap, Snapshot,
};

use crate::filter::CompiledFilters;
use crate::host::HostMap;
use crate::l4::L4Table;
use crate::rule::CompiledRoute;

use host_table::Claim;
pub(crate) use host_table::{Entry, HostTable};

/// Everything that decides where requests go; immutable, shared by all threads.
#[derive(Debug)]
pub struct Table {
    /// Version of the snapshot that it was built from.
    pub version: u64,
    /// It shares its parts with the one that is served.
    snapshot: Snapshot,
    ports: HashMap<u16, HostMap<Arc<ListenerTable>>>,
    /// The HTTP and HTTPS ones, ordered by name.
    listeners: Vec<Arc<ListenerTable>>,
    routes: PersistentMap<PartName, BuiltRoute>,
    hosts: PersistentMap<Place, Arc<HostTable>>,
    l4: L4Table,
    problems: Vec<Problem>,
}

/// A host on a listener.
type Place = (PartName, Hostname);

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
    pub filters: Arc<CompiledFilters>,
    pub(crate) hosts: HostMap<Arc<HostTable>>,
}

/// A route with what it was built from.
#[derive(Debug, Clone)]
struct BuiltRoute {
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

    fn claim(&self, route: &PartName, host: &HostClaim) -> Claim {
        Claim {
            route: route.clone(),
            claimed: host.claimed.clone(),
            compiled: self.compiled.clone(),
        }
    }
}

/// A part that is not the same as before.
type Change<'s> = Difference<'s, PartKey, EncodedPart>;

impl Table {
    /// Builds the table of a snapshot; what did not change is taken from `previous`, so that a change takes the time of what
    /// it changes. What cannot be served is listed in [`Self::problems`].
    pub fn build(snapshot: &Snapshot, previous: Option<&Self>) -> Self {
        let nothing = Self::empty(&Snapshot::new(snapshot.pool.clone(), 0, []));
        // Problems are found where parts change, so one that has some is nothing to build upon.
        let previous = previous.filter(|table| table.problems.is_empty());
        let previous = previous.unwrap_or(&nothing);
        let changes = snapshot.since(&previous.snapshot);
        let mut table = Self {
            routes: previous.routes.clone(),
            hosts: previous.hosts.clone(),
            ..Self::empty(snapshot)
        };
        table.compile_routes(&changes);
        let touched = table.build_hosts(previous, &changes);
        table.build_listeners(previous, &changes, &touched);
        table.l4 = L4Table::build(snapshot, Some(&previous.l4), &mut table.problems);
        table
    }

    fn empty(snapshot: &Snapshot) -> Self {
        Self {
            version: snapshot.version,
            snapshot: snapshot.clone(),
            ports: HashMap::new(),
            listeners: Vec::new(),
            routes: PersistentMap::new(),
            hosts: PersistentMap::new(),
            l4: L4Table::default(),
            problems: Vec::new(),
        }
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

    fn compile_routes(&mut self, changes: &[Change<'_>]) {
        for (key, _, part) in of_kind(changes, PartKind::Route) {
            self.routes.remove(&key.name);
            let Some((part, Part::Route(route))) = part.map(|part| (part, &**part.part())) else {
                continue;
            };
            match CompiledRoute::new(route, part.digest()).map(Arc::new) {
                Ok(compiled) => {
                    let built = BuiltRoute {
                        part: part.part().clone(),
                        compiled,
                    };
                    self.routes.insert(key.name.clone(), built);
                }
                Err(message) => self.problems.push(Problem {
                    part: (*key).clone(),
                    message,
                }),
            }
        }
    }

    /// Builds the tables of the hosts that changed routes claim, or did before, and says which these are.
    fn build_hosts(&mut self, previous: &Self, changes: &[Change<'_>]) -> BTreeSet<Place> {
        let routes = of_kind(changes, PartKind::Route).map(|(key, ..)| &key.name);
        let routes: BTreeSet<&PartName> = routes.collect();
        let mut claims: BTreeMap<Place, Vec<Claim>> = BTreeMap::new();
        for route in &routes {
            let before = previous.routes.get(*route);
            for (listener, host) in before.into_iter().flat_map(BuiltRoute::claims) {
                let place = (listener.clone(), host.host.clone());
                claims.entry(place).or_default();
            }
            if let Some(built) = self.routes.get(*route) {
                for (listener, host) in built.claims() {
                    let place = (listener.clone(), host.host.clone());
                    let claim = built.claim(route, host);
                    claims.entry(place).or_default().push(claim);
                }
            }
        }
        let mut touched = BTreeSet::new();
        for (place, new) in claims {
            let before = previous.hosts.get(&place);
            let kept = before.map(|host| host.claims_without(&routes));
            let mut claims = kept.unwrap_or_default();
            claims.extend(new);
            claims.sort_by(|one, other| one.route.cmp(&other.route));
            if before.is_some_and(|host| host.is_built_from(&claims)) {
                continue;
            }
            match claims.is_empty() {
                true => drop(self.hosts.remove(&place)),
                false => {
                    let host = Arc::new(HostTable::new(place.1.clone(), claims));
                    self.hosts.insert(place.clone(), host);
                }
            }
            touched.insert(place);
        }
        touched
    }

    fn build_listeners(
        &mut self,
        previous: &Self,
        changes: &[Change<'_>],
        touched: &BTreeSet<Place>,
    ) {
        let changed = of_kind(changes, PartKind::Listener).map(|(key, ..)| &key.name);
        let changed: BTreeSet<&PartName> = changed.collect();
        let mut ports: BTreeMap<u16, BTreeMap<Hostname, Arc<ListenerTable>>> = BTreeMap::new();
        let snapshot = self.snapshot.clone();
        let listeners = snapshot.listeners();
        for listener in listeners.filter(|listener| listener.protocol.is_http()) {
            let before = previous.listener_named(&listener.name);
            let before = before.filter(|_| !changed.contains(&listener.name));
            let table = match before {
                Some(before) => self.with_hosts(before, touched),
                None => Arc::new(self.listener_table(listener)),
            };
            self.listeners.push(table.clone());
            let port = ports.entry(listener.bind_port).or_default();
            if let Some(other) = port.insert(listener.hostname.clone(), table) {
                let message = format!(
                    "port {} and hostname {} are those of listener {} as well",
                    listener.bind_port, listener.hostname, other.listener.name
                );
                let part = PartKey::new(PartKind::Listener, listener.name.clone());
                self.problems.push(Problem { part, message });
            }
        }
        self.ports = ports
            .into_iter()
            .map(|(port, hosts)| (port, HostMap::new(hosts)))
            .collect();
    }

    fn listener_named(&self, name: &PartName) -> Option<&Arc<ListenerTable>> {
        let place = self
            .listeners
            .binary_search_by(|table| table.listener.name.cmp(name));
        place.ok().map(|place| &self.listeners[place])
    }

    /// A listener that did not change, with the hosts that did.
    fn with_hosts(
        &self,
        before: &Arc<ListenerTable>,
        touched: &BTreeSet<Place>,
    ) -> Arc<ListenerTable> {
        let name = &before.listener.name;
        let mut touched = touched.range((name.clone(), Hostname::Any)..).peekable();
        let is_own = |place: &&Place| place.0 == *name;
        if touched.peek().copied().filter(is_own).is_none() {
            return before.clone();
        }
        let mut hosts = before.hosts.clone();
        for place in touched.take_while(is_own) {
            hosts.set(&place.1, self.hosts.get(place).cloned());
        }
        Arc::new(ListenerTable {
            listener: before.listener.clone(),
            filters: before.filters.clone(),
            hosts,
        })
    }

    fn listener_table(&mut self, listener: &Listener) -> ListenerTable {
        let filters = CompiledFilters::of_listener(&listener.filters).unwrap_or_else(|problem| {
            self.problems.push(Problem {
                part: PartKey::new(PartKind::Listener, listener.name.clone()),
                message: format!("filters: {problem}"),
            });
            CompiledFilters::default()
        });
        // Of all hostnames, this one is the first in order.
        let hosts = self
            .hosts
            .range_from(&(listener.name.clone(), Hostname::Any));
        let hosts = hosts.take_while(|((name, _), _)| *name == listener.name);
        let hosts = hosts.map(|((_, host), table)| (host.clone(), table.clone()));
        ListenerTable {
            listener: listener.clone(),
            filters: Arc::new(filters),
            hosts: HostMap::new(hosts.collect()),
        }
    }
}

/// The changes to parts of one kind.
fn of_kind<'c, 's>(
    changes: &'c [Change<'s>],
    kind: PartKind,
) -> impl Iterator<Item = &'c Change<'s>> {
    changes.iter().filter(move |(key, ..)| key.kind == kind)
}

impl ListenerTable {
    /// Whether any route claims this host on the listener.
    pub fn serves(&self, host: &str) -> bool {
        self.hosts.matching(host).next().is_some()
    }
}

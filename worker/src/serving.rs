//! A snapshot in the form in which threads serve it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rustls::ServerConfig;
use tidegate_ir::{
    Backend, BackendTls, Destination, EncodedPart, PartKey, PartKind, PartName, Security, Snapshot,
    Trust,
};
use tidegate_router::{Problem, Table};

use crate::listen::tls::{Inside, TlsBuilder, TlsPorts};
use crate::terms::{PortTerms, Terms};
use crate::upstream::{Dns, Source, TlsClient, TlsClients, Upstream};

/// Everything that a request needs to know; immutable, shared by all threads.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) snapshot: Snapshot,
    pub(crate) table: Table,
    backends: Arc<Upstreams>,
    clients: Arc<Clients>,
    tls: TlsPorts,
    terms: PortTerms,
}

impl Serving {
    /// Builds what a snapshot says; parts that did not change are taken from `previous`.
    ///
    /// # Errors
    /// Everything that cannot be served, at most 100 problems.
    pub(crate) fn build(
        snapshot: Snapshot,
        previous: Option<&Self>,
        tls: &TlsBuilder,
        dns: &Dns,
        own: &Arc<Terms>,
    ) -> Result<Self, Vec<Problem>> {
        let table = Table::build(&snapshot, previous.map(|serving| &serving.table));
        let mut problems = table.problems().to_vec();
        let terms = PortTerms::build(&snapshot, own, &mut problems);
        let configs = tls.build(
            &snapshot,
            previous.map(|serving| &serving.tls),
            &mut problems,
        );
        let building = Building {
            snapshot: &snapshot,
            previous,
            builder: tls,
            tls: &configs,
            dns,
        };
        let (backends, clients) = match previous.filter(|old| has_the_upstreams_of(&snapshot, old))
        {
            Some(old) => (old.backends.clone(), old.clients.clone()),
            None => building.upstreams(&mut problems),
        };
        problems.truncate(100);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            snapshot,
            table,
            backends,
            clients,
            tls: configs,
            terms,
        })
    }

    /// The backend with that name.
    pub(crate) fn upstream(&self, name: &PartName) -> Option<&Arc<Upstream>> {
        self.backends.get(name)
    }

    /// On which terms the clients of a port are met.
    pub(crate) fn terms(&self, bind_port: u16) -> &Arc<Terms> {
        self.terms.on(bind_port)
    }

    /// How TLS ends on a port, `None` where it does not.
    pub(crate) fn tls(&self, bind_port: u16, inside: Inside) -> Option<&Arc<ServerConfig>> {
        self.tls.config(bind_port, inside)
    }
}

/// Whether only routes are not as they were, on which no upstream depends.
fn has_the_upstreams_of(snapshot: &Snapshot, old: &Serving) -> bool {
    let changes = snapshot.since(&old.snapshot);
    let mut kinds = changes.iter().map(|(key, ..)| key.kind);
    kinds.all(|kind| matches!(kind, PartKind::Route | PartKind::L4Route))
}

/// The backends by name.
type Upstreams = HashMap<PartName, Arc<Upstream>>;

/// How TLS is spoken to backends, by all that it was made of: equal terms share their connections.
type Clients = HashMap<String, Arc<TlsClient>>;

/// What backends are built from.
struct Building<'b> {
    snapshot: &'b Snapshot,
    previous: Option<&'b Serving>,
    builder: &'b TlsBuilder,
    tls: &'b TlsPorts,
    dns: &'b Dns,
}

impl Building<'_> {
    fn upstreams(&self, problems: &mut Vec<Problem>) -> (Arc<Upstreams>, Arc<Clients>) {
        let shown = self.snapshot.listeners();
        let shown = shown.filter_map(|listener| listener.backend_client_certificate.clone());
        let shown: BTreeSet<Option<PartName>> = shown.map(Some).chain([None]).collect();
        let (mut upstreams, mut clients) = (Upstreams::new(), Clients::new());
        for backend in self.snapshot.backends() {
            match self.upstream(backend, &shown, &mut clients) {
                Ok(Some(upstream)) => drop(upstreams.insert(backend.name.clone(), upstream)),
                // The closure check has refused such a snapshot.
                Ok(None) => {}
                Err(message) => problems.push(Problem {
                    part: PartKey::new(PartKind::Backend, backend.name.clone()),
                    message,
                }),
            }
        }
        (Arc::new(upstreams), Arc::new(clients))
    }

    /// A backend; one whose parts did not change is the one from before.
    fn upstream(
        &self,
        backend: &Backend,
        shown: &BTreeSet<Option<PartName>>,
        clients: &mut Clients,
    ) -> Result<Option<Arc<Upstream>>, String> {
        let own = match &backend.security {
            Security::Plain | Security::Broken(_) => vec![],
            Security::Tls(tls) => self.clients_of(backend, tls, shown, clients)?,
        };
        let known = self.previous.and_then(|old| old.upstream(&backend.name));
        let source = match &backend.destination {
            Destination::Dns { hostname, port } => {
                let (name, balancing) = (&backend.name, &backend.balancing);
                Source::Dns(self.dns.resolve(name, hostname, *port, balancing))
            }
            Destination::Endpoints(name) => {
                let is_same = |kind, name: &PartName| {
                    let key = PartKey::new(kind, name.clone());
                    let old = self.previous.and_then(|old| old.snapshot.get(&key));
                    old.is_some() && old == self.snapshot.get(&key)
                };
                if let Some(known) = known
                    && is_same(PartKind::Backend, &backend.name)
                    && is_same(PartKind::EndpointSet, name)
                    && known.has_clients(&own)
                {
                    return Ok(Some(known.clone()));
                }
                let Some(endpoints) = self.snapshot.endpoint_set(name) else {
                    return Ok(None);
                };
                Upstream::fixed(backend, endpoints, known.map(Arc::as_ref))
            }
        };
        let upstream = Upstream::new(backend.clone(), source, own, known.map(Arc::as_ref));
        Ok(Some(Arc::new(upstream)))
    }

    /// How TLS is spoken to a backend, for each certificate that may be shown to it.
    fn clients_of(
        &self,
        backend: &Backend,
        tls: &BackendTls,
        shown: &BTreeSet<Option<PartName>>,
        clients: &mut Clients,
    ) -> Result<TlsClients, String> {
        let own = BTreeSet::from([tls.client_certificate.clone()]);
        let shown = if tls.client_certificate.is_some() {
            &own
        } else {
            shown
        };
        let each = shown.iter().map(|shown| {
            let client = self.client(backend, tls, shown.as_ref(), clients)?;
            Ok((shown.clone(), client))
        });
        each.collect()
    }

    fn client(
        &self,
        backend: &Backend,
        tls: &BackendTls,
        shown: Option<&PartName>,
        clients: &mut Clients,
    ) -> Result<Arc<TlsClient>, String> {
        let terms = self.terms(backend, tls, shown);
        let known = clients.get(&terms);
        let before = || self.previous.and_then(|old| old.clients.get(&terms));
        let client = match known.or_else(before) {
            Some(known) => known.clone(),
            None => {
                let roots = match &tls.trust {
                    Trust::Bundle(name) => self.tls.roots(name).cloned(),
                    Trust::System => Some(self.builder.system_roots()),
                };
                let roots = roots.ok_or("its trust bundle is missing")?;
                let key = match shown {
                    Some(name) => Some(
                        self.tls
                            .key(name)
                            .ok_or("its client certificate is missing")?,
                    ),
                    None => None,
                };
                let (provider, protocol) = (self.builder.provider(), backend.protocol);
                Arc::new(TlsClient::new(
                    provider,
                    tls,
                    protocol,
                    roots,
                    key.cloned(),
                )?)
            }
        };
        clients.insert(terms, client.clone());
        Ok(client)
    }

    /// All that a TLS client is made of, with the digests of the parts.
    fn terms(&self, backend: &Backend, tls: &BackendTls, shown: Option<&PartName>) -> String {
        let digest = |kind, name: &PartName| {
            let key = PartKey::new(kind, name.clone());
            self.snapshot.get(&key).map(EncodedPart::digest)
        };
        let trust = match &tls.trust {
            Trust::Bundle(name) => digest(PartKind::TrustBundle, name),
            Trust::System => None,
        };
        let certificate = shown.and_then(|name| digest(PartKind::Certificate, name));
        let key = shown.and_then(|name| {
            let certificate = self.snapshot.certificate(name)?;
            digest(PartKind::PrivateKey, &certificate.private_key)
        });
        let BackendTls {
            server_name, sans, ..
        } = tls;
        let protocol = backend.protocol;
        format!("{server_name} {sans:?} {protocol:?} {trust:?} {certificate:?} {key:?}")
    }
}

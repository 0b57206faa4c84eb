//! A snapshot in the form in which threads serve it.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use tidegate_ir::{Destination, PartKey, PartKind, PartName, Snapshot};
use tidegate_router::{Problem, Table};

use crate::listen::tls::{TlsBuilder, TlsPorts};
use crate::upstream::Upstream;

/// Everything that a request needs to know; immutable, shared by all threads.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) snapshot: Snapshot,
    pub(crate) table: Table,
    backends: HashMap<PartName, Arc<Upstream>>,
    tls: TlsPorts,
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
    ) -> Result<Self, Vec<Problem>> {
        let table = Table::build(&snapshot, previous.map(|serving| &serving.table));
        let mut problems = table.problems().to_vec();
        let configs = tls.build(
            &snapshot,
            previous.map(|serving| &serving.tls),
            &mut problems,
        );
        let backends = upstreams(&snapshot, previous);
        problems.truncate(100);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            snapshot,
            table,
            backends,
            tls: configs,
        })
    }

    /// The backend with that name.
    pub(crate) fn upstream(&self, name: &PartName) -> Option<&Arc<Upstream>> {
        self.backends.get(name)
    }

    /// How TLS ends on a port, `None` where it is plain.
    pub(crate) fn tls(&self, bind_port: u16) -> Option<&Arc<ServerConfig>> {
        self.tls.config(bind_port)
    }
}

fn upstreams(snapshot: &Snapshot, previous: Option<&Serving>) -> HashMap<PartName, Arc<Upstream>> {
    let mut upstreams = HashMap::new();
    for backend in snapshot.backends() {
        let Destination::Endpoints(endpoints) = &backend.destination else {
            continue;
        };
        let keys = [
            PartKey::new(PartKind::Backend, backend.name.clone()),
            PartKey::new(PartKind::EndpointSet, endpoints.clone()),
        ];
        let unchanged = previous
            .filter(|old| {
                keys.iter()
                    .all(|key| old.snapshot.get(key) == snapshot.get(key))
            })
            .and_then(|old| old.upstream(&backend.name));
        let upstream = match (unchanged, snapshot.endpoint_set(endpoints)) {
            (Some(unchanged), _) => unchanged.clone(),
            (None, Some(endpoints)) => Arc::new(Upstream::new(backend.clone(), endpoints)),
            // The closure check has refused such a snapshot.
            (None, None) => continue,
        };
        upstreams.insert(backend.name.clone(), upstream);
    }
    upstreams
}

//! On which terms the clients of each port are met: the worker's own, and what its listeners say.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_ir::{ListenerProtocol, PartKey, PartKind, Snapshot};
use tidegate_router::Problem;

use crate::edge::Edge;
use crate::limits::Limits;

/// The terms of one port.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    /// The port as the Gateway states it, where a listener has it.
    pub(crate) port: Option<u16>,
    pub(crate) edge: Edge,
    pub(crate) limits: Limits,
}

/// The terms of all ports of a snapshot.
#[derive(Debug)]
pub(crate) struct PortTerms {
    /// For ports whose listeners leave everything open.
    own: Arc<Terms>,
    ports: BTreeMap<u16, Arc<Terms>>,
}

impl PortTerms {
    /// Settles the terms; a port whose listeners differ is a problem, because a connection is met before it
    /// has chosen one of them.
    pub(crate) fn build(
        snapshot: &Snapshot,
        own: &Arc<Terms>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut said: BTreeMap<u16, (u16, &tidegate_ir::Edge)> = BTreeMap::new();
        // UDP has ports of its own, and no connections.
        let listeners = snapshot.listeners();
        for listener in listeners.filter(|one| one.protocol != ListenerProtocol::Udp) {
            let own = (listener.port, &*listener.edge);
            let first = said.entry(listener.bind_port).or_insert(own);
            if first.1 != own.1 {
                problems.push(Problem {
                    part: PartKey::new(PartKind::Listener, listener.name.clone()),
                    message: "other listeners of its port meet clients in another way".to_owned(),
                });
            }
        }
        let ports = said
            .into_iter()
            .map(|(bind_port, (port, said))| (bind_port, Arc::new(own.under(port, said))));
        let ports = ports.collect();
        let own = own.clone();
        Self { own, ports }
    }

    /// The terms of a port.
    pub(crate) fn on(&self, bind_port: u16) -> &Arc<Terms> {
        self.ports.get(&bind_port).unwrap_or(&self.own)
    }
}

impl Terms {
    /// The same, save for what a listener says.
    fn under(&self, port: u16, said: &tidegate_ir::Edge) -> Self {
        Self {
            port: Some(port),
            edge: self.edge.under(said),
            limits: self.limits.under(&said.bounds),
        }
    }
}

//! The decision on one request.

use crate::matcher::{Probe, RequestHead};
use crate::rule::CompiledRule;
use crate::table::{HostTable, ListenerTable, Table};

use std::sync::Arc;

/// Where a request goes.
#[derive(Debug)]
pub struct Decision<'t> {
    /// The listener that the host selects on the port.
    pub listener: Option<&'t Arc<ListenerTable>>,
    /// What the listener's rules say.
    pub outcome: Outcome<'t>,
}

/// What the rules say about a request.
#[derive(Debug)]
pub enum Outcome<'t> {
    /// No listener of the port has that host.
    NoListener,
    /// No rule of the listener matches.
    NoRoute,
    /// A rule matches.
    Rule(Chosen<'t>),
}

/// The rule that wins, and by which of its matches.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'t> {
    /// The rule.
    pub rule: &'t Arc<CompiledRule>,
    /// Which of the rule's matches won, from 0.
    pub match_index: usize,
    /// Bytes of the request's path that the match's prefix covers.
    pub prefix_len: usize,
}

impl Table {
    /// Finds the rule for a request that arrived on a port.
    pub fn decide(&self, bind_port: u16, head: &RequestHead<'_>) -> Decision<'_> {
        let Some(listener) = self.listener(bind_port, head.host) else {
            return Decision {
                listener: None,
                outcome: Outcome::NoListener,
            };
        };
        Decision {
            listener: Some(listener),
            outcome: listener.pick(head).map_or(Outcome::NoRoute, Outcome::Rule),
        }
    }
}

impl ListenerTable {
    /// The rule for a request that this listener serves.
    pub fn pick(&self, head: &RequestHead<'_>) -> Option<Chosen<'_>> {
        let probe = Probe::new(head);
        self.hosts
            .matching(head.host)
            .find_map(|host| host.pick(&probe))
    }
}

impl HostTable {
    fn pick(&self, probe: &Probe<'_>) -> Option<Chosen<'_>> {
        let holds = |place: u32| {
            self.entries[place as usize]
                .matching()
                .holds_beside_indexed_path(probe)
        };
        let place = self.index.first(probe.head.path, holds)?;
        let entry = &self.entries[place as usize];
        Some(Chosen {
            rule: &entry.rule,
            match_index: entry.match_index,
            prefix_len: entry.matching().prefix_len(),
        })
    }
}

//! Why a request goes where it goes: every listener and every candidate rule, with what decided.

use tidegate_ir::{Hostname, Match, ObjectName, PartName, RouteKind};

use crate::matcher::{Mismatch, Probe, RequestHead};
use crate::table::Table;

/// The whole decision on one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Version of the snapshot.
    pub version: u64,
    /// Every listener of the snapshot, ordered by name.
    pub listeners: Vec<(PartName, ListenerVerdict)>,
    /// Every rule of the chosen listener's matching hosts, in the order in which they are tried.
    pub candidates: Vec<Candidate>,
}

/// Why a listener was chosen or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerVerdict {
    /// It serves the request.
    Chosen,
    /// It is bound to another port.
    OtherPort {
        /// Its port.
        port: u16,
    },
    /// It serves another protocol on that port.
    OtherProtocol {
        /// Its protocol, as a Gateway names it.
        protocol: &'static str,
    },
    /// Its hostname does not match.
    OtherHost {
        /// Its hostname.
        hostname: Hostname,
    },
    /// Its hostname matches, but another listener's is more specific.
    LessSpecific {
        /// Its hostname.
        hostname: Hostname,
    },
}

/// One match of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Kind of the route object.
    pub kind: RouteKind,
    /// The route object.
    pub route: ObjectName,
    /// Place of the rule in the object, from 0.
    pub rule_index: usize,
    /// The rule's name, or its index.
    pub rule: String,
    /// Place of the match in the rule, from 0.
    pub match_index: usize,
    /// The conditions.
    pub conditions: Match,
    /// The host under which it was tried.
    pub host: Hostname,
    /// The route's own hostname.
    pub claimed: Hostname,
    /// Why it won or lost.
    pub verdict: Verdict,
}

/// Why a candidate won or lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It serves the request.
    Won,
    /// A condition does not hold.
    Lost(Mismatch),
    /// Its conditions hold, but a candidate before it won.
    Outranked,
}

impl Explanation {
    /// The candidate that won, if any did.
    pub fn winner(&self) -> Option<&Candidate> {
        self.candidates
            .iter()
            .find(|candidate| candidate.verdict == Verdict::Won)
    }
}

/// Explains [`Table::decide`]; its cost grows with the number of the host's rules.
pub fn explain(table: &Table, bind_port: u16, head: &RequestHead<'_>) -> Explanation {
    let chosen = table.listener(bind_port, head.host);
    let verdict = |listener: &tidegate_ir::Listener| {
        let hostname = listener.hostname.clone();
        if chosen.is_some_and(|chosen| chosen.listener.name == listener.name) {
            ListenerVerdict::Chosen
        } else if listener.bind_port != bind_port {
            ListenerVerdict::OtherPort {
                port: listener.bind_port,
            }
        } else if !listener.protocol.is_http() {
            ListenerVerdict::OtherProtocol {
                protocol: listener.protocol.name(),
            }
        } else if hostname.matches(head.host) {
            ListenerVerdict::LessSpecific { hostname }
        } else {
            ListenerVerdict::OtherHost { hostname }
        }
    };
    let listeners = table.all_listeners();
    Explanation {
        version: table.version,
        listeners: listeners.map(|l| (l.name.clone(), verdict(l))).collect(),
        candidates: candidates(table, bind_port, head),
    }
}

fn candidates(table: &Table, bind_port: u16, head: &RequestHead<'_>) -> Vec<Candidate> {
    let probe = Probe::new(head);
    let mut won = false;
    let mut candidates = Vec::new();
    let hosts = table.listener(bind_port, head.host).into_iter();
    for host in hosts.flat_map(|listener| listener.hosts.matching(head.host)) {
        for entry in &host.entries {
            let verdict = match entry.matching().mismatch(&probe) {
                Some(mismatch) => Verdict::Lost(mismatch),
                None if won => Verdict::Outranked,
                None => Verdict::Won,
            };
            won |= verdict == Verdict::Won;
            candidates.push(Candidate {
                kind: entry.rule.kind,
                route: entry.rule.route.clone(),
                rule_index: entry.rule.index,
                rule: entry.rule.label.to_string(),
                match_index: entry.match_index,
                conditions: entry.matching().source().clone(),
                host: host.host.clone(),
                claimed: entry.claimed.clone(),
                verdict,
            });
        }
    }
    candidates
}

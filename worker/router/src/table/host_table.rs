//! The rules of one host on one listener.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_ir::{Hostname, PartName, Precedence};

use crate::matcher::CompiledMatch;
use crate::path::PathIndex;
use crate::rule::{CompiledRoute, CompiledRule};

/// The rules of one host on one listener, in the order in which they win.
#[derive(Debug)]
pub(crate) struct HostTable {
    pub(crate) host: Hostname,
    /// What it was built from, ordered by the name of the route.
    claims: Box<[Claim]>,
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

/// A route's claim to a host on a listener.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// The part of the route.
    pub(super) route: PartName,
    /// The pattern in the route.
    pub(super) claimed: Hostname,
    pub(super) compiled: Arc<CompiledRoute>,
}

impl HostTable {
    /// The table of a host that is claimed like this.
    pub(super) fn new(host: Hostname, claims: Vec<Claim>) -> Self {
        let mut entries: Vec<(Precedence, &Claim, Entry)> = Vec::new();
        for claim in &claims {
            for rule in &claim.compiled.rules {
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
                    .then_with(|| claim.compiled.order.cmp(&other_claim.compiled.order))
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
            claims: claims.into(),
            entries,
            index,
        }
    }

    /// The claims of routes other than these.
    pub(super) fn claims_without(&self, routes: &BTreeSet<&PartName>) -> Vec<Claim> {
        let others = self.claims.iter();
        let others = others.filter(|claim| !routes.contains(&claim.route));
        others.cloned().collect()
    }

    /// Whether it was built from these claims: equal claims make an equal table.
    pub(super) fn is_built_from(&self, claims: &[Claim]) -> bool {
        let both = self.claims.iter().zip(claims);
        let mut same = both.map(|(own, claim)| {
            own.compiled.digest == claim.compiled.digest && own.claimed == claim.claimed
        });
        self.claims.len() == claims.len() && same.all(|same| same)
    }
}

impl Entry {
    pub(crate) fn matching(&self) -> &CompiledMatch {
        &self.rule.matches[self.match_index]
    }
}

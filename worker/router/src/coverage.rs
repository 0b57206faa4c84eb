//! Which matches of rules no request can reach, since others come before them.

mod covers;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidegate_ir::{Hostname, Match, ObjectName, PartName, PathMatch, Snapshot};

use crate::l4::Claim;
use crate::table::{Entry, HostTable, Table};
use covers::{covers, wider};

/// Matches of one path that a later one is held against, at most; one that only those behind them cover is not found.
const COMPARED_MAX: usize = 1_000;

/// What was looked at, and what of it nothing reaches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Matches of rules by listener and host, and claims of layer 4.
    pub looked_at: usize,
    /// Ordered by route, rule and match.
    pub unreachable: Vec<Unreachable>,
}

/// A match of a rule that nothing reaches under a host of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// The match.
    pub place: Place,
    /// The listener.
    pub listener: PartName,
    /// What comes before it and takes all that it could get.
    pub by: Place,
    /// Whether nothing reaches any match of the rule, under any host and listener.
    pub whole_rule: bool,
}

/// A match of a rule under a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Kind of the route object.
    pub kind: &'static str,
    /// The route object.
    pub route: ObjectName,
    /// Place of the rule in the object, from 0.
    pub rule_index: usize,
    /// The rule's name, or its index.
    pub rule: String,
    /// Place of the match in the rule, from 0.
    pub match_index: usize,
    /// What a request needs; `None` for layer 4.
    pub conditions: Option<Match>,
    /// The hostname of the listener and the route together.
    pub host: Hostname,
    /// The route's own hostname.
    pub claimed: Hostname,
}

/// A rule of a route.
type RuleKey = (&'static str, ObjectName, usize);

/// Looks at every rule of a snapshot and its table. What expressions have in common is not looked at, so a rule that is not
/// listed may be unreachable still; one that is listed is.
pub fn coverage(snapshot: &Snapshot, table: &Table) -> Coverage {
    let mut found = Found::default();
    for (listener, host) in table.hosts() {
        found.look_at_host(listener, host);
    }
    for (listener, host) in l4_hosts(snapshot) {
        let mut listeners = table.l4().listeners();
        let at = listeners.find(|at| at.listener.name == *listener);
        let claims = at.map_or(&[][..], |at| at.claims(host));
        found.look_at_claims(listener, claims);
    }
    found.coverage()
}

fn l4_hosts(snapshot: &Snapshot) -> BTreeSet<(&PartName, &Hostname)> {
    let attachments = snapshot.l4_routes().flat_map(|route| &route.attachments);
    let hosts = attachments.flat_map(|attachment| {
        let hosts = attachment.hosts.iter();
        hosts.map(|host| (&attachment.listener, &host.host))
    });
    hosts.collect()
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// How many matches a rule has, over hosts and listeners.
    matches: BTreeMap<RuleKey, usize>,
    unreachable: Vec<(PartName, Place, Place)>,
}

impl Found {
    fn look_at_host(&mut self, listener: &PartName, host: &HostTable) {
        let mut before: HashMap<&PathMatch, Vec<&Entry>> = HashMap::new();
        for entry in &host.entries {
            let place = Place::of_entry(host, entry);
            self.count(&place);
            let own = entry.matching().source();
            let paths = wider(&own.path);
            let mut earlier = paths.iter().filter_map(|path| before.get(path)).flatten();
            let by = earlier.find(|other| covers(other.matching().source(), own));
            if let Some(by) = by {
                let by = Place::of_entry(host, by);
                self.unreachable.push((listener.clone(), place, by));
                // Whatever it covers, what covers it covers too.
                continue;
            }
            let same = before.entry(&own.path).or_default();
            if same.len() < COMPARED_MAX {
                same.push(entry);
            }
        }
    }

    fn look_at_claims(&mut self, listener: &PartName, claims: &[Claim]) {
        let Some(first) = claims.first() else {
            return;
        };
        self.count(&Place::of_claim(first));
        for claim in &claims[1..] {
            let (place, by) = (Place::of_claim(claim), Place::of_claim(first));
            self.count(&place);
            self.unreachable.push((listener.clone(), place, by));
        }
    }

    fn count(&mut self, place: &Place) {
        *self.matches.entry(place.rule()).or_default() += 1;
    }

    fn coverage(self) -> Coverage {
        let mut lost: BTreeMap<RuleKey, usize> = BTreeMap::new();
        for (_, place, _) in &self.unreachable {
            *lost.entry(place.rule()).or_default() += 1;
        }
        let unreachable = self.unreachable.into_iter().map(|(listener, place, by)| {
            let rule = place.rule();
            Unreachable {
                whole_rule: lost.get(&rule) == self.matches.get(&rule),
                place,
                listener,
                by,
            }
        });
        let mut unreachable: Vec<_> = unreachable.collect();
        unreachable.sort_by_cached_key(|found| (found.place.rule(), found.place.match_index));
        Coverage {
            looked_at: self.matches.values().sum(),
            unreachable,
        }
    }
}

impl Place {
    fn of_entry(host: &HostTable, entry: &Entry) -> Self {
        Self {
            kind: entry.rule.kind.object_kind(),
            route: entry.rule.route.clone(),
            rule_index: entry.rule.index,
            rule: entry.rule.label.to_string(),
            match_index: entry.match_index,
            conditions: Some(entry.matching().source().clone()),
            host: host.host.clone(),
            claimed: entry.claimed.clone(),
        }
    }

    fn of_claim(claim: &Claim) -> Self {
        Self {
            kind: claim.target.kind.object_kind(),
            route: claim.target.route.clone(),
            rule_index: 0,
            rule: claim.target.rule.to_string(),
            match_index: 0,
            conditions: None,
            host: claim.host.clone(),
            claimed: claim.claimed.clone(),
        }
    }

    fn rule(&self) -> RuleKey {
        (self.kind, self.route.clone(), self.rule_index)
    }
}

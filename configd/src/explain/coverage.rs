//! Which rules of a snapshot nothing reaches.

use tidegate_ir::Snapshot;
use tidegate_proto::explain::v1::{GetCoverageResponse, RuleName, Unreachable};
use tidegate_router::{Place, Table};

use super::words::match_text;

/// Unreachable matches in an answer, at most.
const UNREACHABLE_MAX: usize = 1_000;

/// What nothing reaches; the answer leaves out which snapshot it was.
#[must_use]
pub fn coverage(snapshot: &Snapshot) -> GetCoverageResponse {
    let table = Table::build(snapshot, None);
    let coverage = tidegate_router::coverage(snapshot, &table);
    let total = coverage.unreachable.len() as u64;
    let unreachable = coverage.unreachable.into_iter().take(UNREACHABLE_MAX);
    let unreachable = unreachable.map(|found| Unreachable {
        rule: Some(rule_name(&found.place)),
        listener: found.listener.to_string(),
        by: Some(rule_name(&found.by)),
        whole_rule: found.whole_rule,
    });
    GetCoverageResponse {
        snapshot: None,
        looked_at: coverage.looked_at as u64,
        unreachable: unreachable.collect(),
        unreachable_total: total,
    }
}

fn rule_name(place: &Place) -> RuleName {
    RuleName {
        kind: place.kind.to_owned(),
        route: place.route.to_string(),
        rule: place.rule.clone(),
        match_index: u32::try_from(place.match_index).unwrap_or(u32::MAX),
        conditions: place
            .conditions
            .as_ref()
            .map(match_text)
            .unwrap_or_default(),
        host: place.host.to_string(),
        claimed: place.claimed.to_string(),
    }
}

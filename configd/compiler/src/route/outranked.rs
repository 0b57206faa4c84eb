//! TCPRoutes and UDPRoutes that share a listener with an older one: they are attached and get nothing.

use std::collections::BTreeMap;

use tidegate_ir::PartName;

use super::{RouteKind, RouteOutcome};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::objects::Place;

/// A finding for each listener at which a route of those given has an older one before it, by the same
/// order as the workers: the older route, then the first by name.
pub(crate) fn report<'a>(
    routes: impl Iterator<Item = (RouteKind, &'a Place, &'a RouteOutcome)>,
    findings: &mut Vec<Diagnostic>,
) {
    let mut claims: BTreeMap<(&Place, &PartName), Vec<_>> = BTreeMap::new();
    for (kind, place, outcome) in routes {
        let claim = (outcome.created_at_unix_s, &place.object, kind, &outcome.key);
        for (gateway, listener) in &outcome.attached {
            claims.entry((gateway, listener)).or_default().push(claim);
        }
    }
    for ((_, listener), mut claims) in claims {
        claims.sort_unstable();
        let Some((_, winner, kind, _)) = claims.first() else {
            continue;
        };
        let message = format!(
            "{} {winner} comes first at listener {listener}, which serves the oldest route only; delete one, or give it another listener",
            kind.object_kind()
        );
        let losers = claims
            .iter()
            .skip(1)
            .filter(|(_, object, ..)| object != winner);
        findings.extend(losers.map(|(.., key)| {
            Diagnostic::new(key, "spec.parentRefs", &codes::OUTRANKED, message.as_str())
        }));
    }
}

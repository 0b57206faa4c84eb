//! The conformance tests of Gateway API v1.7 that have a case, and those that cannot have one.

use std::collections::BTreeSet;

use libtest_mimic::{Failed, Trial};

/// The tests of the official suite for Gateways, ListenerSets, HTTPRoutes, GRPCRoutes and
/// BackendTLSPolicies, by their short names; each has a case of that name.
const COVERED: [&str; 0] = [];

/// The tests of the same parts that are about a cluster, each with the reason.
const OF_THE_OPERATOR: [(&str, &str); 0] = [];

/// The tests of the lists above.
pub(crate) fn trials(cases: BTreeSet<String>) -> Vec<Trial> {
    vec![Trial::test(
        "every_conformance_test_has_a_case",
        move || every_test_has_a_case(&cases),
    )]
}

fn every_test_has_a_case(cases: &BTreeSet<String>) -> Result<(), Failed> {
    let missing: Vec<_> = COVERED
        .iter()
        .filter(|name| !cases.contains(**name))
        .collect();
    let excused = OF_THE_OPERATOR
        .iter()
        .filter(|(name, _)| cases.contains(*name));
    let excused: Vec<_> = excused.map(|(name, _)| name).collect();
    if !missing.is_empty() || !excused.is_empty() {
        let message =
            format!("without a case: {missing:?}; with a case and an excuse: {excused:?}");
        return Err(message.into());
    }
    Ok(())
}

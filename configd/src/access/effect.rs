//! Which methods change state. Pure.

/// What the names of methods begin with that only read. A method with another name changes state until it is
/// listed, so that a new one is recorded and not forgotten.
const READING: &[&str] = &[
    "Get",
    "List",
    "Watch",
    "Diff",
    "Blame",
    "Wait",
    "Explain",
    "Check",
    "Subscribe",
];

/// Packages whose services are spoken to by other parts of the system about each other.
const INTERNAL: &[&str] = &["/tidegate.raft.v1.", "/grpc."];

/// Services that record their writes themselves, with what is in them.
const RECORDING: &[&str] = &["/tidegate.objects.v1.", "/tidegate.sources.v1."];

/// Whether a method changes what is stored, served or planned.
pub(crate) fn changes_state(method: &str) -> bool {
    let name = method.rsplit('/').next().unwrap_or_default();
    let reads = READING.iter().any(|verb| name.starts_with(verb));
    !reads && !begins(method, INTERNAL)
}

/// Whether the gate records what comes of a method.
pub(crate) fn is_recorded(method: &str) -> bool {
    changes_state(method) && !begins(method, RECORDING)
}

fn begins(method: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| method.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::super::METHODS;
    use super::*;

    /// The methods that only read, without their packages.
    #[test]
    fn what_readers_may_call_changes_nothing_and_what_only_others_may_does() {
        use tidegate_runtime::identity::Access;

        use super::super::Grant;
        for (path, grants) in METHODS.iter().filter(|(path, _)| !begins(path, INTERNAL)) {
            let for_readers = grants.contains(&Grant::Automation(Access::Read));
            let reads = !changes_state(path);
            assert!(
                !for_readers || reads,
                "readers may call {path}, which changes state"
            );
        }
        let changes =
            |name: &str| changes_state(&format!("/tidegate.history.v1.HistoryService/{name}"));
        assert!(changes("Rollback") && changes("Unpin") && !changes("Blame"));
        assert!(!changes_state("/tidegate.raft.v1.PeerService/Append"));
        assert!(!is_recorded("/tidegate.objects.v1.ObjectService/Apply"));
        assert!(is_recorded("/tidegate.plans.v1.PlanService/ApplyPlan"));
    }
}

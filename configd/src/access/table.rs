//! Every method with the roles that may call it. What is not in the table is closed.

use tidegate_runtime::identity::{Access, Principal};

use super::{Grant, Refusal};
use crate::caller::Caller;

const ANYBODY: &[Grant] = &[
    Grant::Configd,
    Grant::Worker,
    Grant::Operator,
    Grant::Automation(Access::Read),
];
const WRITERS: &[Grant] = &[Grant::Operator, Grant::Automation(Access::Write)];
const SOURCES: &[Grant] = &[Grant::Operator, Grant::Automation(Access::Read)];
const READERS: &[Grant] = &[Grant::Automation(Access::Read)];
/// What is of no one source, or of several.
const EDITORS: &[Grant] = &[Grant::Automation(Access::Write)];
/// The log is written here.
const NODES: &[Grant] = &[Grant::Configd];
/// A configd learns which workers the others have.
const COUNTERS: &[Grant] = &[Grant::Configd, Grant::Automation(Access::Read)];
/// A configd may ask for a place of its own.
const HOSTS: &[Grant] = &[Grant::Configd, Grant::Automation(Access::Admin)];
/// Whoever may change the cluster itself, or take all that it has.
const ADMINS: &[Grant] = &[Grant::Automation(Access::Admin)];
/// Private keys travel here.
const WORKERS: &[Grant] = &[Grant::Worker];

/// The methods by their paths. Operators and workers are bound to their names beyond this: see `scope`.
pub(crate) const METHODS: &[(&str, &[Grant])] = &[
    ("/tidegate.objects.v1.ObjectService/Apply", WRITERS),
    ("/tidegate.objects.v1.ObjectService/Resync", WRITERS),
    ("/tidegate.objects.v1.ObjectService/GetObject", SOURCES),
    ("/tidegate.objects.v1.ObjectService/ListObjects", SOURCES),
    ("/tidegate.objects.v1.ObjectService/WatchObjects", SOURCES),
    ("/tidegate.sources.v1.SourceService/OpenSession", WRITERS),
    ("/tidegate.sources.v1.SourceService/RenewLease", WRITERS),
    ("/tidegate.sources.v1.SourceService/ListSources", SOURCES),
    (
        "/tidegate.sources.v1.SourceService/ConfirmDeletions",
        EDITORS,
    ),
    (
        "/tidegate.sources.v1.SourceService/SetSourcePolicy",
        EDITORS,
    ),
    ("/tidegate.snapshots.v1.SnapshotService/Subscribe", WORKERS),
    (
        "/tidegate.snapshots.v1.SnapshotService/GetSnapshot",
        READERS,
    ),
    (
        "/tidegate.snapshots.v1.SnapshotService/ListSnapshots",
        READERS,
    ),
    (
        "/tidegate.snapshots.v1.SnapshotService/DiffSnapshots",
        READERS,
    ),
    (
        "/tidegate.snapshots.v1.SnapshotService/WatchSnapshots",
        READERS,
    ),
    (
        "/tidegate.snapshots.v1.SnapshotService/ListWorkers",
        COUNTERS,
    ),
    ("/tidegate.statuses.v1.StatusService/ListStatuses", SOURCES),
    ("/tidegate.statuses.v1.StatusService/WatchStatuses", SOURCES),
    ("/tidegate.history.v1.HistoryService/ListPools", READERS),
    ("/tidegate.history.v1.HistoryService/Blame", READERS),
    ("/tidegate.history.v1.HistoryService/Rollback", EDITORS),
    ("/tidegate.history.v1.HistoryService/Freeze", EDITORS),
    ("/tidegate.history.v1.HistoryService/Unfreeze", EDITORS),
    ("/tidegate.history.v1.HistoryService/Pin", EDITORS),
    ("/tidegate.history.v1.HistoryService/Unpin", EDITORS),
    ("/tidegate.history.v1.HistoryService/Label", EDITORS),
    ("/tidegate.history.v1.HistoryService/Unlabel", EDITORS),
    ("/tidegate.explain.v1.ExplainService/ExplainRoute", READERS),
    ("/tidegate.explain.v1.ExplainService/GetCoverage", READERS),
    ("/tidegate.plans.v1.PlanService/CreatePlan", EDITORS),
    ("/tidegate.plans.v1.PlanService/GetPlan", EDITORS),
    ("/tidegate.plans.v1.PlanService/ListPlans", EDITORS),
    ("/tidegate.plans.v1.PlanService/ApplyPlan", EDITORS),
    ("/tidegate.rollouts.v1.RolloutService/ListRollouts", READERS),
    ("/tidegate.rollouts.v1.RolloutService/StartRollout", EDITORS),
    (
        "/tidegate.rollouts.v1.RolloutService/SetRolloutPolicy",
        EDITORS,
    ),
    (
        "/tidegate.rollouts.v1.RolloutService/PromoteRollout",
        EDITORS,
    ),
    ("/tidegate.rollouts.v1.RolloutService/PauseRollout", EDITORS),
    (
        "/tidegate.rollouts.v1.RolloutService/ResumeRollout",
        EDITORS,
    ),
    ("/tidegate.rollouts.v1.RolloutService/AbortRollout", EDITORS),
    ("/tidegate.snapshots.v1.SnapshotService/Wait", READERS),
    ("/tidegate.cluster.v1.ClusterService/GetStatus", READERS),
    ("/tidegate.cluster.v1.ClusterService/ListMembers", READERS),
    ("/tidegate.cluster.v1.ClusterService/AddMember", HOSTS),
    ("/tidegate.cluster.v1.ClusterService/RemoveMember", ADMINS),
    (
        "/tidegate.cluster.v1.ClusterService/TransferLeadership",
        ADMINS,
    ),
    ("/tidegate.cluster.v1.ClusterService/Backup", ADMINS),
    ("/tidegate.raft.v1.PeerService/Identify", NODES),
    ("/tidegate.raft.v1.PeerService/Found", NODES),
    ("/tidegate.raft.v1.PeerService/Introduce", NODES),
    ("/tidegate.raft.v1.PeerService/Append", NODES),
    ("/tidegate.raft.v1.PeerService/Vote", NODES),
    ("/tidegate.raft.v1.PeerService/InstallImage", NODES),
    ("/tidegate.raft.v1.PeerService/TransferLeader", NODES),
    ("/tidegate.raft.v1.PeerService/Propose", NODES),
    ("/tidegate.raft.v1.PeerService/ReadIndex", NODES),
    ("/grpc.health.v1.Health/Check", ANYBODY),
    ("/grpc.health.v1.Health/Watch", ANYBODY),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        READERS,
    ),
];

/// Whether a caller may call a method. Without TLS nobody is told apart, and everybody may.
pub(crate) fn may_call(method: &str, caller: &Caller) -> Result<(), Refusal> {
    let row = METHODS.iter().find(|(path, _)| *path == method);
    let Some((_, grants)) = row else {
        return Err(Refusal::NoSuchMethod {
            method: method.to_owned(),
        });
    };
    let allowed = match caller {
        Caller::InProcess | Caller::Plaintext(_) => true,
        Caller::Peer(identity) => grants.iter().any(|grant| grant.covers(&identity.principal)),
    };
    if allowed {
        return Ok(());
    }
    let words: Vec<String> = grants.iter().map(Grant::words).collect();
    Err(Refusal::Role {
        caller: caller.to_string(),
        method: method.to_owned(),
        allowed: words.join(", "),
    })
}

impl Grant {
    fn covers(self, principal: &Principal) -> bool {
        match (self, principal) {
            (Self::Configd, Principal::Configd { .. })
            | (Self::Worker, Principal::Worker { .. })
            | (Self::Operator, Principal::Operator { .. }) => true,
            (Self::Automation(needed), Principal::Automation { access, .. }) => *access >= needed,
            _ => false,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Configd => "configd".to_owned(),
            Self::Worker => "workers".to_owned(),
            Self::Operator => "operators".to_owned(),
            Self::Automation(access) => format!("automation with access {access}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// The paths of all methods that the encoded descriptors describe.
    fn methods(encoded: &[u8]) -> BTreeSet<String> {
        let set = FileDescriptorSet::decode(encoded).expect("the descriptors are readable");
        let mut paths = BTreeSet::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let (package, service) = (file.package(), service.name());
                    paths.insert(format!("/{package}.{service}/{}", method.name()));
                }
            }
        }
        paths
    }

    #[test]
    fn every_method_has_a_row_and_every_row_a_method() {
        let mut described = methods(tidegate_proto::DESCRIPTORS);
        described.extend(methods(tonic_health::pb::FILE_DESCRIPTOR_SET));
        described.extend(methods(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET));
        let rows: BTreeSet<String> = METHODS.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(rows.len(), METHODS.len(), "no method has two rows");
        let open: Vec<_> = described.difference(&rows).collect();
        assert!(
            open.is_empty(),
            "say who may call these, in METHODS: {open:?}"
        );
        let stale: Vec<_> = rows.difference(&described).collect();
        assert!(stale.is_empty(), "these are no methods any more: {stale:?}");
    }

    fn peer(path: &str) -> Caller {
        let id = format!("spiffe://tidegate.test/{path}");
        Caller::Peer(id.parse().expect("it is an identity"))
    }

    /// The methods that a caller may call, without the packages.
    fn may(caller: &Caller) -> Vec<&'static str> {
        let allowed = METHODS
            .iter()
            .filter(|(path, _)| may_call(path, caller).is_ok());
        let names = allowed.filter_map(|(path, _)| path.rsplit('/').next());
        names
            .filter(|name| !["Check", "Watch"].contains(name))
            .collect()
    }

    #[test]
    fn roles_may_what_they_need_and_no_more() {
        assert_eq!(may(&peer("worker/default")), ["Subscribe"]);
        assert!(may(&peer("configd/n1")).contains(&"Append"));
        assert!(!may(&peer("configd/n1")).contains(&"Subscribe"));
        assert!(!may(&peer("automation/admin/root")).contains(&"Append"));
        assert_eq!(
            may(&peer("operator/eu-1")),
            [
                "Apply",
                "Resync",
                "GetObject",
                "ListObjects",
                "WatchObjects",
                "OpenSession",
                "RenewLease",
                "ListSources",
                "ListStatuses",
                "WatchStatuses"
            ]
        );
        let read = may(&peer("automation/read/grafana"));
        assert!(!read.contains(&"Apply") && !read.contains(&"Rollback"));
        assert!(!read.contains(&"Subscribe"), "private keys are for workers");
        let write = may(&peer("automation/write/ci"));
        assert!(write.contains(&"Apply") && !write.contains(&"Subscribe"));
        let mut admin = may(&peer("automation/admin/root"));
        let cluster = ["AddMember", "RemoveMember", "TransferLeadership", "Backup"];
        assert!(cluster.iter().all(|name| admin.contains(name)));
        admin.retain(|name| !cluster.contains(name));
        assert_eq!(write, admin);
    }

    #[test]
    fn what_is_not_in_the_table_is_closed_to_everybody() {
        let unknown = "/tidegate.objects.v1.ObjectService/Forget";
        for caller in [peer("automation/admin/root"), Caller::InProcess] {
            let refusal = may_call(unknown, &caller);
            assert!(matches!(refusal, Err(Refusal::NoSuchMethod { .. })));
        }
    }
}

//! What the store knows of sources, as it travels.

use tidegate_proto::raft::v1 as raft;
use tidegate_proto::sources::v1::{HeldDeletions, Session, Source, SourcePolicy, SourceState};
use tidegate_store::{Held, Policy};

use crate::sources::Standing;

/// Held deletions that are named, at most.
const NAMED_MAX: usize = 100;

pub(super) fn source(name: &str, source: &tidegate_store::Source, standing: Standing) -> Source {
    let (staged_bytes, staged_objects) = source.staged().unwrap_or_default();
    Source {
        name: name.to_owned(),
        state: state(standing).into(),
        objects: source.objects,
        bytes: source.bytes,
        session: source.session.as_ref().map(session),
        resync_due: source.resync_due,
        resynced_at_unix_ms: source.resynced_at_unix_ms,
        withdrawn_at_unix_ms: source.withdrawn_at_unix_ms,
        held: source.held.as_deref().map(held),
        staged_objects,
        staged_bytes,
        policy: Some(policy(&source.policy)),
    }
}

pub(super) fn policy_wire(policy: SourcePolicy) -> raft::SourcePolicy {
    raft::SourcePolicy {
        objects_max: policy.objects_max,
        bytes_max: policy.bytes_max,
        hold_percent: policy.hold_percent,
        hold_min: policy.hold_min,
        withdraw_after_ms: policy.withdraw_after_ms,
    }
}

fn policy(policy: &Policy) -> SourcePolicy {
    SourcePolicy {
        objects_max: Some(policy.objects_max()),
        bytes_max: Some(policy.bytes_max()),
        hold_percent: Some(policy.hold_percent()),
        hold_min: Some(policy.hold_min()),
        withdraw_after_ms: policy.withdraw_after_ms,
    }
}

fn state(standing: Standing) -> SourceState {
    match standing {
        Standing::NoLease => SourceState::NoLease,
        Standing::Live => SourceState::Live,
        Standing::Stale => SourceState::Stale,
        Standing::Withdrawn => SourceState::Withdrawn,
    }
}

fn session(session: &tidegate_store::Session) -> Session {
    Session {
        number: session.id,
        opened_by: session.by.clone(),
        opened_at_unix_ms: session.opened_at_unix_ms,
        incarnation: session.incarnation.clone(),
        lease_ms: session.lease_ms,
        renewed_at_unix_ms: session.renewed_at_unix_ms,
        sequence: session.sequence,
    }
}

fn held(held: &Held) -> HeldDeletions {
    let first = held.keys.keys().take(NAMED_MAX);
    HeldDeletions {
        id: held.id,
        since_unix_ms: held.at_unix_ms,
        objects: held.keys.len() as u64,
        of: held.of,
        first: first.cloned().map(Into::into).collect(),
    }
}

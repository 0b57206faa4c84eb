//! Going back: an old version's content, with the addresses of today, as a new version that holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_ir::{Digest, PartKey, PartKind, PartName, manifest_digest};
use tidegate_proto::history::v1::{RollbackRequest, RollbackResponse, rollback_request::To};
use tidegate_proto::raft::v1::CommitSnapshot;
use tidegate_store::{Command, Outcome, PartChange, PartRef, Rollout, SnapshotMeta, Store};
use tonic::Status;
use tracing::info;

use super::{note, version};
use crate::publisher::cause;
use crate::rpc::snapshots::read;
use crate::sealing::Sealing;
use crate::{clock, error, wire};

/// Versions that are looked at for one to go back to.
const VERSIONS_MAX: usize = 1_000;

/// Bytes of a reason, at most; the store's bound.
const REASON_BYTES_MAX: usize = 256;

/// Does what a request says, or with dry_run only finds out what that would be.
pub(super) async fn carry_out(
    store: &Store,
    sealing: &Sealing,
    request: RollbackRequest,
) -> Result<RollbackResponse, Status> {
    let head = version::newest(store, &request.pool)?;
    version::expect(&head, request.expected_version)?;
    let target = target(store, sealing, &head, request.to.as_ref())?;
    let changes = steps(store, sealing, &head, &target)?;
    if changes.is_empty() {
        return Err(error::unexpected(
            "SAME_CONTENT",
            format!(
                "version {} has the same content as version {}, the newest of pool {}, but for addresses of endpoints; \
                 to hold that, freeze the pool",
                target.version, head.version, head.pool
            ),
        ));
    }
    let mut answer = RollbackResponse {
        from: Some(wire::snapshot_info(&head)),
        restored: Some(wire::snapshot_info(&target)),
        snapshot: None,
        changes: read::explained(store, &head.pool, &changes)?,
    };
    if !request.dry_run {
        let commit = commit(store, (&head, &target), &changes, request)?;
        let made = propose(store, &head, commit).await?;
        answer.snapshot = Some(wire::snapshot_info(&made));
    }
    Ok(answer)
}

/// Takes a rollout back: what its other workers serve becomes the newest version for all of them, and holds.
pub(crate) async fn abort(
    (store, sealing): (&Store, &Sealing),
    pool: &str,
    rollout: &Rollout,
    by: String,
    reason: String,
) -> Result<Arc<SnapshotMeta>, Status> {
    let head = version::newest(store, pool)?;
    let stable = version::numbered(store, pool, rollout.stable)?;
    let changes = steps(store, sealing, &head, &stable)?;
    let request = RollbackRequest {
        reason: shortened(reason),
        requested_by: by,
        ..RollbackRequest::default()
    };
    let commit = commit(store, (&head, &stable), &changes, request)?;
    propose(store, &head, commit).await
}

/// Within the bound on reasons.
fn shortened(mut reason: String) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

fn target(
    store: &Store,
    sealing: &Sealing,
    head: &SnapshotMeta,
    to: Option<&To>,
) -> Result<Arc<SnapshotMeta>, Status> {
    match to {
        Some(To::Version(version)) => version::numbered(store, &head.pool, *version),
        Some(To::Label(label)) => version::labelled(store, &head.pool, label),
        None if store.marks(&head.pool).freeze.is_some() => Err(error::unexpected(
            "FROZEN",
            format!(
                "pool {} is frozen, so the version before may be the one that was left; name a version",
                head.pool
            ),
        )),
        None => match &store.marks(&head.pool).rollout {
            Some(rollout) => version::numbered(store, &head.pool, rollout.stable),
            None => before(store, sealing, head),
        },
    }
}

/// The newest version before the head that differs from it in more than addresses.
fn before(
    store: &Store,
    sealing: &Sealing,
    head: &SnapshotMeta,
) -> Result<Arc<SnapshotMeta>, Status> {
    let mut newer = head.version;
    for meta in store.list(&head.pool, Some(head.version), VERSIONS_MAX) {
        let step = store.delta(&head.pool, meta.version, newer);
        newer = meta.version;
        // Most steps in a row are addresses only, and are cheap to tell from the others.
        let candidate = step.is_none_or(|step| !step.iter().all(is_address));
        if candidate && !steps(store, sealing, head, &meta)?.is_empty() {
            return Ok(meta);
        }
    }
    Err(error::unexpected(
        "NOTHING_BEFORE",
        format!(
            "no version of pool {} before {} is kept that differs from it",
            head.pool, head.version
        ),
    ))
}

/// What turns the head into the target, but for addresses that the head has, and for keys that only another seal
/// tells apart.
fn steps(
    store: &Store,
    sealing: &Sealing,
    head: &SnapshotMeta,
    target: &SnapshotMeta,
) -> Result<Vec<PartChange>, Status> {
    let changes = store.delta(&head.pool, head.version, target.version);
    let changes = changes.ok_or_else(|| gone(target))?;
    let mut steps = vec![];
    for change in changes {
        if !is_address(&change) && !is_seal(store, sealing, target, &change)? {
            steps.push(change);
        }
    }
    Ok(steps)
}

/// Whether a change only puts one seal of a private key in the place of another. A key that cannot be opened is not
/// brought back, since no worker could be given it.
fn is_seal(
    store: &Store,
    sealing: &Sealing,
    target: &SnapshotMeta,
    change: &PartChange,
) -> Result<bool, Status> {
    let Some(after) = change.after else {
        return Ok(false);
    };
    if change.kind != PartKind::PrivateKey.number() {
        return Ok(false);
    }
    let clear = |digest: &Digest| {
        let bytes = store.blob(digest).map_err(|error| error::store(&error))?;
        sealing.open(&bytes).map_err(|cause| {
            let text = format!(
                "private key {} of version {} of pool {}: {cause}; or choose another version",
                change.name, target.version, target.pool
            );
            error::unexpected("SEAL_KEY_MISSING", text)
        })
    };
    let after = clear(&after)?;
    // The head's may be one that nobody can open any more.
    Ok(change
        .before
        .is_some_and(|before| clear(&before).is_ok_and(|before| before == after)))
}

/// Whether a change only sets the addresses of a set that is there before and after.
fn is_address(change: &PartChange) -> bool {
    let set = change.kind == PartKind::EndpointSet.number();
    set && change.before.is_some() && change.after.is_some()
}

fn commit(
    store: &Store,
    (head, target): (&SnapshotMeta, &SnapshotMeta),
    changes: &[PartChange],
    request: RollbackRequest,
) -> Result<CommitSnapshot, Status> {
    let manifest = store.manifest(&head.pool, head.version);
    let digest = digest(&manifest.ok_or_else(|| gone(head))?, changes);
    let (mut put, mut removed) = (vec![], vec![]);
    for change in changes {
        match wire::part_change(change) {
            Ok(part) => put.push(part),
            Err(key) => removed.push(key),
        }
    }
    let freeze = note(request.requested_by, request.reason);
    Ok(CommitSnapshot {
        pool: head.pool.to_string(),
        parent: head.version,
        digest: digest.as_bytes().to_vec().into(),
        put,
        removed,
        blobs: vec![],
        revision: target.revision,
        committed_at_unix_ms: clock::unix_ms(),
        cause: cause::rollback(target.version, &freeze.by, &freeze.reason),
        restores: target.version,
        freeze: Some(freeze),
        while_frozen: true,
        ..CommitSnapshot::default()
    })
}

/// The digest of the head's manifest after the changes.
fn digest(head: &[PartRef], changes: &[PartChange]) -> Digest {
    let key =
        |kind, name: &PartName| Some(PartKey::new(PartKind::from_number(kind)?, name.clone()));
    let line = |line: &PartRef| Some((key(line.kind, &line.name)?, line.digest));
    let mut lines: BTreeMap<PartKey, Digest> = head.iter().filter_map(line).collect();
    for change in changes {
        let Some(key) = key(change.kind, &change.name) else {
            continue;
        };
        match change.after {
            Some(digest) => lines.insert(key, digest),
            None => lines.remove(&key),
        };
    }
    manifest_digest(lines.iter().map(|(key, digest)| (key, *digest)))
}

async fn propose(
    store: &Store,
    head: &SnapshotMeta,
    commit: CommitSnapshot,
) -> Result<Arc<SnapshotMeta>, Status> {
    let cause = commit.cause.clone();
    let outcome = store.propose(Command::CommitSnapshot(commit)).await;
    match outcome.map_err(|error| error::store(&error))? {
        Outcome::Committed { version } => {
            super::catch_up(store).await?;
            info!(pool = %head.pool, version, cause, "Rolled back; the pool is frozen.");
            version::numbered(store, &head.pool, version)
        }
        Outcome::ParentMismatch { head: newest } => Err(version::moved(&head.pool, newest)),
        Outcome::MissingBlobs { .. } => Err(Status::out_of_range(
            "the version is not kept any more; choose a newer one",
        )),
        Outcome::Refused { reason } => Err(Status::invalid_argument(reason)),
        other => Err(Status::internal(format!(
            "the store answered {other:?} to a rollback of pool {}",
            head.pool
        ))),
    }
}

fn gone(meta: &SnapshotMeta) -> Status {
    let name = format!("{}/{}", meta.pool, meta.version);
    let text = format!(
        "version {} of pool {} is not kept any more",
        meta.version, meta.pool
    );
    error::gone("snapshot", name, text)
}

//! The store's and the compiler's values as the messages of the gRPC services.

use bytes::Bytes;
use tidegate_compiler as compiler;
use tidegate_proto::ir::v1 as ir;
use tidegate_proto::snapshots::v1::{SnapshotId, SnapshotInfo};
use tidegate_proto::statuses::v1 as statuses;
use tidegate_store::{Marks, PartChange, SnapshotMeta, StoredObject};

pub(crate) fn snapshot_id(meta: &SnapshotMeta) -> SnapshotId {
    SnapshotId {
        pool: meta.pool.to_string(),
        version: meta.version,
        epoch: meta.epoch,
        digest: meta.digest.as_bytes().to_vec().into(),
    }
}

pub(crate) fn snapshot_info(meta: &SnapshotMeta) -> SnapshotInfo {
    SnapshotInfo {
        id: Some(snapshot_id(meta)),
        parent: meta.parent,
        revision: meta.revision,
        committed_at_unix_ms: meta.committed_at_unix_ms,
        cause: meta.cause.clone(),
        parts: meta.parts,
        restores: meta.restores,
        ..SnapshotInfo::default()
    }
}

/// The number of a version; 0 where it has none.
pub(crate) fn version(info: &SnapshotInfo) -> u64 {
    info.id.as_ref().map_or(0, |id| id.version)
}

/// The same with what is said about the version.
pub(crate) fn marked_info(meta: &SnapshotMeta, marks: &Marks) -> SnapshotInfo {
    let labels = marks.labels_of(meta.version);
    SnapshotInfo {
        labels: labels.map(ToString::to_string).collect(),
        pinned: marks.pins.contains(&meta.version),
        ..snapshot_info(meta)
    }
}

/// The part that a change leaves behind, or the key of the part that it takes away.
pub(crate) fn part_change(change: &PartChange) -> Result<ir::PartRef, ir::PartKey> {
    let name = change.name.to_string();
    match &change.after {
        Some(digest) => {
            let digest = digest.as_bytes().to_vec().into();
            Ok(ir::PartRef {
                kind: change.kind,
                name,
                digest,
            })
        }
        None => Err(ir::PartKey {
            kind: change.kind,
            name,
        }),
    }
}

/// `content` is the object's, opened.
pub(crate) fn compiler_object(object: &StoredObject, content: Bytes) -> compiler::Object {
    compiler::Object {
        key: object.key.clone(),
        uid: object.uid.clone(),
        generation: object.generation,
        created_at_unix_s: object.created_at_unix_s,
        content,
    }
}

pub(crate) fn diagnostic(diagnostic: &compiler::Diagnostic) -> statuses::Diagnostic {
    let severity = match diagnostic.severity {
        compiler::Severity::Error => statuses::Severity::Error,
        compiler::Severity::Warning => statuses::Severity::Warning,
        compiler::Severity::Info => statuses::Severity::Info,
    };
    statuses::Diagnostic {
        key: Some((&diagnostic.key).into()),
        code: diagnostic.code.to_owned(),
        severity: severity.into(),
        field: diagnostic.field.clone(),
        message: diagnostic.message.clone(),
    }
}

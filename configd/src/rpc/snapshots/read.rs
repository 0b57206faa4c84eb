//! Reads of the history: whole versions, pages and differences.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_ir::{self as model, EncodedPart, PartKind, Snapshot};
use tidegate_proto::ir::v1::{Blob, PartKey, PartRef};
use tidegate_proto::snapshots::v1::{
    ChangeType, FieldChange, GetSnapshotResponse, ListSnapshotsResponse, PartChange,
};
use tidegate_runtime::seal;
use tidegate_store::{SnapshotMeta, Store};
use tonic::Status;

use crate::pools::heads;
use crate::{error, wire};

/// Bytes of parts in one piece, about.
const PIECE_BYTES: usize = 900 << 10;

/// A version in pieces of at most about 1 MiB, without private keys.
pub(crate) fn pieces(
    store: &Store,
    meta: &SnapshotMeta,
) -> Result<Vec<GetSnapshotResponse>, Status> {
    let info = Some(wire::snapshot_info(meta));
    let mut piece = GetSnapshotResponse {
        info,
        ..GetSnapshotResponse::default()
    };
    let (mut pieces, mut bytes, mut seen) = (vec![], 0, BTreeSet::new());
    for part in manifest(store, meta)?.iter() {
        let digest = part.digest;
        let secret = part.kind == PartKind::PrivateKey.number();
        if !secret && seen.insert(digest) {
            let content = store.blob(&digest).map_err(|error| error::store(&error))?;
            bytes += content.len();
            piece.blobs.push(Blob {
                digest: digest.as_bytes().to_vec().into(),
                content,
            });
        }
        bytes += 64 + part.name.len();
        piece.parts.push(PartRef {
            kind: part.kind,
            name: part.name.to_string(),
            digest: digest.as_bytes().to_vec().into(),
        });
        if bytes >= PIECE_BYTES {
            pieces.push(std::mem::take(&mut piece));
            bytes = 0;
        }
    }
    pieces.push(piece);
    Ok(pieces)
}

/// A page of the history, newest first; over all pools where `pool` is empty.
pub(crate) fn page(
    store: &Store,
    pool: &str,
    limit: usize,
    token: &str,
) -> Result<ListSnapshotsResponse, Status> {
    let skip: usize = match token {
        "" => 0,
        token => token.parse().map_err(|_| {
            let text = "the token is not one that this service gave out";
            error::invalid(&[error::Violation::new("page_token", text)])
        })?,
    };
    let heads = heads(store);
    let heads = heads
        .iter()
        .filter(|head| pool.is_empty() || *head.pool == *pool);
    let mut all: Vec<_> = heads
        .flat_map(|head| store.list(&head.pool, None, skip + limit + 1))
        .collect();
    all.sort_by_key(|meta| std::cmp::Reverse((meta.committed_at_unix_ms, meta.version)));
    let more = all.len() > skip + limit;
    let snapshots = all
        .iter()
        .skip(skip)
        .take(limit)
        .map(|meta| wire::marked_info(meta, &store.marks(&meta.pool)))
        .collect();
    let next_page_token = if more {
        (skip + limit).to_string()
    } else {
        String::new()
    };
    Ok(ListSnapshotsResponse {
        snapshots,
        next_page_token,
    })
}

/// What differs between two versions, or between nothing and the first one.
pub(crate) fn differences(
    store: &Store,
    from: Option<&SnapshotMeta>,
    to: &SnapshotMeta,
) -> Result<Vec<PartChange>, Status> {
    let changes = store.delta(&to.pool, from.map_or(0, |from| from.version), to.version);
    let changes = changes.ok_or_else(|| Status::out_of_range("a version is not kept any more"))?;
    explained(store, &to.pool, &changes)
}

/// The same changes with what differs inside the parts.
pub(crate) fn explained(
    store: &Store,
    pool: &Arc<str>,
    changes: &[tidegate_store::PartChange],
) -> Result<Vec<PartChange>, Status> {
    let mut before = vec![];
    let mut after = vec![];
    for change in changes {
        before.extend(part(store, change, change.before)?);
        after.extend(part(store, change, change.after)?);
    }
    let before = Snapshot::new(pool.clone(), 0, before);
    let after = Snapshot::new(pool.clone(), 0, after);
    Ok(model::diff(&before, &after)
        .into_iter()
        .map(part_change)
        .collect())
}

fn part(
    store: &Store,
    change: &tidegate_store::PartChange,
    digest: Option<model::Digest>,
) -> Result<Option<EncodedPart>, Status> {
    let Some((kind, digest)) = PartKind::from_number(change.kind).zip(digest) else {
        return Ok(None);
    };
    let bytes = store.blob(&digest).map_err(|error| error::store(&error))?;
    if seal::is_sealed(&bytes) {
        return Ok(Some(unopened(change, bytes)));
    }
    let invalid = |error: model::InvalidPart| Status::internal(error::chain(&error));
    EncodedPart::decode(kind, bytes).map(Some).map_err(invalid)
}

/// A private key whose value nobody sees: that its bytes are others is all that a difference says.
fn unopened(change: &tidegate_store::PartChange, bytes: Bytes) -> EncodedPart {
    let key = model::PrivateKey {
        name: change.name.clone(),
        der: model::SecretBytes::new(Bytes::new()),
    };
    let part = EncodedPart::encode(model::Part::PrivateKey(key));
    part.into_sealed(bytes, model::SecretBytes::new(Bytes::new()))
}

/// A change of a part as it travels.
pub(crate) fn part_change(change: model::PartChange) -> PartChange {
    let change_type = match change.change {
        model::ChangeType::Added => ChangeType::Added,
        model::ChangeType::Removed => ChangeType::Removed,
        model::ChangeType::Modified => ChangeType::Modified,
    };
    let field = |field: model::FieldChange| FieldChange {
        field: field.field,
        before: field.before,
        after: field.after,
    };
    PartChange {
        part: Some(PartKey {
            kind: change.part.kind.number(),
            name: change.part.name.to_string(),
        }),
        r#type: change_type.into(),
        fields: change.fields.into_iter().map(field).collect(),
    }
}

/// The parts of a version by their digests.
pub(crate) fn manifest(
    store: &Store,
    meta: &SnapshotMeta,
) -> Result<Arc<Vec<tidegate_store::PartRef>>, Status> {
    let gone = || {
        let name = format!("{}/{}", meta.pool, meta.version);
        let text = format!("version {} is not kept any more", meta.version);
        error::gone("snapshot", name, text)
    };
    store.manifest(&meta.pool, meta.version).ok_or_else(gone)
}

//! Which pool and which version a request means.

use std::sync::Arc;

use tidegate_store::{SnapshotMeta, Store};
use tonic::Status;

use crate::error;
use crate::pools::heads;

/// The newest version of a pool; an empty name means the only one.
pub(crate) fn newest(store: &Store, pool: &str) -> Result<Arc<SnapshotMeta>, Status> {
    let heads = heads(store);
    let named = heads
        .iter()
        .filter(|head| pool.is_empty() || *head.pool == *pool);
    match named.collect::<Vec<_>>()[..] {
        [head] => Ok(head.clone()),
        [] if pool.is_empty() => Err(error::missing("snapshot", "", "there is no snapshot yet")),
        [] => {
            let text = format!("pool {pool} has no snapshot; see ListPools");
            Err(error::missing("pool", pool, text))
        }
        _ => {
            let pools: Vec<&str> = heads.iter().map(|head| &*head.pool).collect();
            let pools = pools.join(", ");
            Err(Status::invalid_argument(format!(
                "name one of the pools: {pools}"
            )))
        }
    }
}

/// A version of a pool; 0 is the newest.
pub(crate) fn numbered(
    store: &Store,
    pool: &str,
    version: u64,
) -> Result<Arc<SnapshotMeta>, Status> {
    let head = newest(store, pool)?;
    if version == 0 || version == head.version {
        return Ok(head);
    }
    let (pool, newest) = (&head.pool, head.version);
    store.meta(pool, version).ok_or_else(|| {
        let text = format!("pool {pool} has no version {version}; the newest is {newest}");
        let name = format!("{pool}/{version}");
        if version < newest {
            error::gone(
                "snapshot",
                name,
                text + " and the version is not kept any more",
            )
        } else {
            error::missing("snapshot", name, text)
        }
    })
}

/// The version with a label.
pub(crate) fn labelled(
    store: &Store,
    pool: &str,
    label: &str,
) -> Result<Arc<SnapshotMeta>, Status> {
    let pool = newest(store, pool)?.pool.clone();
    let marks = store.marks(&pool);
    let Some(version) = marks.labels.get(label) else {
        let known: Vec<&str> = marks.labels.keys().map(|label| &**label).collect();
        let known = match known[..] {
            [] => "it has no labels".to_owned(),
            _ => format!("its labels are {}", known.join(", ")),
        };
        let text = format!("pool {pool} has no version with label {label}; {known}");
        return Err(error::missing("label", label, text));
    };
    numbered(store, &pool, *version)
}

/// Refuses where the newest version is not the one that a request expects; 0 expects nothing.
pub(crate) fn expect(head: &SnapshotMeta, expected: u64) -> Result<(), Status> {
    if expected == 0 || expected == head.version {
        return Ok(());
    }
    Err(moved(&head.pool, head.version))
}

/// FAILED_PRECONDITION: the newest version is another one.
pub(crate) fn moved(pool: &str, newest: u64) -> Status {
    error::unexpected(
        "VERSION_MOVED",
        format!("the newest version of pool {pool} is {newest}; look at it and try again"),
    )
}

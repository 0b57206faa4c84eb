//! The pools that the store knows.

use std::sync::Arc;

use tidegate_store::{SnapshotMeta, Store};

/// The newest version of every pool, ordered by pool.
pub(crate) fn heads(store: &Store) -> Vec<Arc<SnapshotMeta>> {
    store
        .pools()
        .iter()
        .filter_map(|pool| store.head(pool))
        .collect()
}

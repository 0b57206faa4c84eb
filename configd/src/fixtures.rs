//! What tests of several modules are made of.

use tidegate_store::{Digest, SnapshotMeta};

/// A version of pool `p`, made of one part.
pub(crate) fn meta(version: u64) -> SnapshotMeta {
    SnapshotMeta {
        pool: "p".into(),
        epoch: 0,
        version,
        parent: version - 1,
        digest: Digest::of(b""),
        revision: 5,
        committed_at_unix_ms: 0,
        cause: String::new(),
        parts: 1,
        restores: 0,
    }
}

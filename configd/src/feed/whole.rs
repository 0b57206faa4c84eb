//! Whole snapshots in pieces, made once for all workers that are sent them at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tidegate_proto::snapshots::v1::Update;
use tidegate_store::SnapshotMeta;
use tokio::sync::Mutex;

/// The pieces of one snapshot, in their order.
pub(super) type WholeSnapshot = Arc<Vec<Update>>;

/// Pool, epoch and version.
type Name = (Arc<str>, i64, u64);

/// The snapshots that are being sent. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct WholeSnapshots {
    sent: Arc<Mutex<HashMap<Name, Weak<Vec<Update>>>>>,
}

impl WholeSnapshots {
    /// The snapshot as another worker is sent it now, or as `make` makes it. Whoever asks meanwhile waits for that.
    pub(super) async fn get<E>(
        &self,
        meta: &SnapshotMeta,
        make: impl FnOnce() -> Result<Vec<Update>, E>,
    ) -> Result<WholeSnapshot, E> {
        let name = (meta.pool.clone(), meta.epoch, meta.version);
        let mut sent = self.sent.lock().await;
        if let Some(known) = sent.get(&name).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let made = Arc::new(make()?);
        sent.retain(|_, pieces| pieces.strong_count() > 0);
        sent.insert(name, Arc::downgrade(&made));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::fixtures::meta;

    fn make(version: u64) -> impl FnOnce() -> Result<Vec<Update>, Infallible> {
        let piece = Update {
            base_version: version,
            ..Update::default()
        };
        move || Ok(vec![piece])
    }

    #[tokio::test]
    async fn workers_share_a_snapshot_as_long_as_one_is_sent_it() {
        let all = WholeSnapshots::default();
        let one = all.get(&meta(3), make(3)).await;
        let Ok(again) = all.get(&meta(3), make(4)).await;
        let Ok(newer) = all.get(&meta(4), make(4)).await;
        assert_eq!(again[0].base_version, 3, "it is not made again");
        assert_eq!(newer[0].base_version, 4);
        drop((one, again));
        let Ok(later) = all.get(&meta(3), make(7)).await;
        assert_eq!(later[0].base_version, 7, "nobody was sent it any more");
        assert_eq!(all.sent.lock().await.len(), 2);
    }
}

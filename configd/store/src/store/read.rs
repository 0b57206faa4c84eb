//! Reads: all but [`Store::blob`] answer from memory.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_ir::Digest;
use tidegate_proto::raft::v1;

use super::Store;
use crate::{
    StoreError,
    command::Outcome,
    history::{History, PartChange, PartRef, SnapshotMeta},
    key::{ObjectChange, ObjectFilter, ObjectKey, StoredObject},
    marks::Marks,
    source::Source,
};

impl Store {
    /// The log index that last changed the object set; 0 where there was no change.
    pub fn revision(&self) -> u64 {
        self.inner.node.views.read().state.revision
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<StoredObject>> {
        self.inner.node.views.read().state.objects.get(key).cloned()
    }

    /// Objects ordered by key, and the revision at which they were read.
    pub fn objects(&self, filter: &ObjectFilter) -> (u64, Vec<Arc<StoredObject>>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let image = self.inner.node.views.read();
        let after = filter.after.as_ref().map_or(Unbounded, Excluded);
        let found = image
            .state
            .objects
            .range::<ObjectKey, _>((after, Unbounded));
        let found = found
            .filter(|(key, _)| filter.matches(key))
            .map(|(_, object)| object.clone());
        (
            image.state.revision,
            found.take(filter.limit.unwrap_or(usize::MAX)).collect(),
        )
    }

    /// What is known of a source; nothing where it never had an object or a session.
    pub fn source(&self, name: &str) -> Source {
        let image = self.inner.node.views.read();
        image.state.sources.get(name).cloned().unwrap_or_default()
    }

    /// Every source with what is known of it, in order.
    pub fn sources(&self) -> Vec<(Arc<str>, Source)> {
        let image = self.inner.node.views.read();
        let sources = image.state.sources.iter();
        sources
            .map(|(name, source)| (name.clone(), source.clone()))
            .collect()
    }

    /// What a batch would come to, if it came now and without a session.
    pub fn preview(&self, put: &v1::PutObjects) -> Outcome {
        self.inner.node.views.read().state.preview(put)
    }

    /// What a full set that comes whole would come to, if it came now.
    pub fn preview_set(&self, set: &v1::CommitStage) -> Outcome {
        self.inner.node.views.read().state.preview_stage(set)
    }

    /// The keys that changed after `revision`, each once; `None` where that is no longer known and the whole set
    /// has to be read.
    pub fn changes_since(&self, revision: u64) -> Option<Vec<ObjectKey>> {
        self.inner.node.views.changes_since(revision)
    }

    /// What became of objects after `after`, the last of each, ordered by revision; and the revision that it leads to.
    ///
    /// # Errors
    ///
    /// The oldest revision after which every change is still known, where `after` is older.
    pub fn object_changes(
        &self,
        filter: &ObjectFilter,
        after: u64,
    ) -> Result<(u64, Vec<ObjectChange>), u64> {
        self.inner.node.views.object_changes(filter, after)
    }

    /// Every pool that has a version, in order.
    pub fn pools(&self) -> Vec<Arc<str>> {
        self.inner
            .node
            .views
            .read()
            .state
            .pools
            .keys()
            .cloned()
            .collect()
    }

    /// The newest version of a pool.
    pub fn head(&self, pool: &str) -> Option<Arc<SnapshotMeta>> {
        self.history(pool, |history| history.newest().cloned())
    }

    /// A retained version of a pool.
    pub fn meta(&self, pool: &str, version: u64) -> Option<Arc<SnapshotMeta>> {
        self.history(pool, |history| history.meta(version).cloned())
    }

    /// What is said about the versions of a pool; nothing where there is no such pool.
    pub fn marks(&self, pool: &str) -> Arc<Marks> {
        let marks = self.history(pool, |history| Some(history.marks.clone()));
        marks.unwrap_or_default()
    }

    /// The last change of each part that `asked` picks, gone ones among them, ordered by kind number and name, and
    /// the version that made it; `None` where that is older than the history.
    pub fn last_changes(
        &self,
        pool: &str,
        asked: impl Fn(i32, &str) -> bool,
    ) -> Vec<(PartChange, Option<Arc<SnapshotMeta>>)> {
        self.history(pool, |history| Some(history.last_changes(asked)))
            .unwrap_or_default()
    }

    /// At most `limit` retained versions of a pool, newest first, older than `before` where that is set.
    pub fn list(&self, pool: &str, before: Option<u64>, limit: usize) -> Vec<Arc<SnapshotMeta>> {
        let listed = self.history(pool, |history| {
            let metas = history
                .versions
                .iter()
                .rev()
                .map(|version| version.meta.clone());
            let older = metas.filter(|meta| before.is_none_or(|before| meta.version < before));
            Some(older.take(limit).collect())
        });
        listed.unwrap_or_default()
    }

    /// The manifest of a retained version, ordered by kind number and name. Takes time with the number of parts;
    /// prefer [`Store::delta`].
    pub fn manifest(&self, pool: &str, version: u64) -> Option<Arc<Vec<PartRef>>> {
        self.history(pool, |history| history.manifest(version).map(Arc::new))
    }

    /// The parts that differ between two retained versions, ordered by kind number and name. From 0 means from an
    /// empty snapshot; `from` may be the newer one.
    pub fn delta(&self, pool: &str, from: u64, to: u64) -> Option<Vec<PartChange>> {
        self.history(pool, |history| history.delta(from, to))
    }

    /// The bytes of a part, held against their name. May read a file.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoBlob`] where nothing retained has such a part; [`StoreError::Damaged`] where the file has
    /// other bytes.
    pub fn blob(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        let place = self
            .inner
            .node
            .views
            .read()
            .state
            .blobs
            .get(digest)
            .map(|blob| blob.place);
        match place {
            Some(place) => self.inner.node.views.blobs.read(*digest, place),
            None => Err(StoreError::NoBlob { digest: *digest }),
        }
    }

    /// What this node has applied, as the bytes of a backup file for [`restore`](crate::restore). Bytes that end early
    /// are noticed there. Private keys are in it.
    ///
    /// # Errors
    ///
    /// A failed file operation, or [`StoreError::NotWritten`] where the state changes too fast to be gathered.
    pub async fn backup(
        &self,
    ) -> Result<impl futures_util::Stream<Item = Bytes> + Send + use<>, StoreError> {
        crate::backup::frames(self.inner.node.clone()).await
    }

    /// Whether the part is stored, so that a commit need not bring it.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.inner
            .node
            .views
            .read()
            .state
            .blobs
            .contains_key(digest)
    }

    fn history<T>(&self, pool: &str, read: impl FnOnce(&History) -> Option<T>) -> Option<T> {
        read(self.inner.node.views.read().state.pools.get(pool)?)
    }
}

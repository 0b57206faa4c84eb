//! Parts: which bytes are stored, and how long.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_ir::Digest;

use super::{State, StoredBlob};
use crate::{
    blobs::{Place, layout},
    command::Command,
};

/// Bytes of parts that no version names yet, at most.
const STAGED_BYTES_MAX: u64 = 256 << 20;
/// Log entries after which a part that no version names is dropped.
const STAGED_ENTRIES_MAX: u64 = 10_000;

impl State {
    /// The parts of `command` that are not stored yet, each once: the content of the entry's pack.
    pub(crate) fn fresh_blobs(&self, command: &Command) -> Vec<(Digest, Bytes)> {
        let mut fresh: Vec<(Digest, Bytes)> = Vec::new();
        for blob in command.blobs() {
            let Ok(digest) = Digest::try_from(blob.digest.as_ref()) else {
                continue;
            };
            if !self.blobs.contains_key(&digest) {
                fresh.push((digest, blob.content.clone()));
            }
        }
        fresh.sort_by_key(|(digest, _)| *digest);
        fresh.dedup_by_key(|(digest, _)| *digest);
        fresh
    }

    /// Whether anything in this pack is alive.
    pub(crate) fn has_pack(&self, pack: u64) -> bool {
        self.packs.contains_key(&pack)
    }

    /// The parts that are alive by the packs that have them.
    pub(crate) fn parts_by_pack(&self) -> BTreeMap<u64, Vec<(Digest, Place)>> {
        let mut packs: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for (digest, blob) in &self.blobs {
            let parts = packs.entry(blob.place.pack).or_default();
            parts.push((*digest, blob.place));
        }
        packs
    }

    /// The packs in which something is alive, in order.
    pub(crate) fn packs(&self) -> Vec<u64> {
        self.packs.keys().copied().collect()
    }

    /// Takes back a part of an image.
    pub(crate) fn restore_blob(&mut self, digest: Digest, blob: StoredBlob) {
        *self.packs.entry(blob.place.pack).or_default() += 1;
        if blob.uses == 0 {
            self.staged.insert(age(blob.place), digest);
            self.staged_bytes += blob.place.len;
        }
        self.blobs.insert(digest, blob);
    }

    pub(super) fn add_blobs(&mut self, index: u64, command: &Command) -> u32 {
        let fresh = self.fresh_blobs(command);
        let mut stored = 0;
        for (digest, place) in layout(index, &fresh) {
            self.restore_blob(digest, StoredBlob { place, uses: 0 });
            stored += 1;
        }
        stored
    }

    pub(super) fn add_use(&mut self, digest: Digest) {
        let blob = self
            .blobs
            .get_mut(&digest)
            .expect("a commit names only stored parts");
        if blob.uses == 0 && self.staged.remove(&age(blob.place)).is_some() {
            self.staged_bytes -= blob.place.len;
        }
        blob.uses += 1;
    }

    pub(super) fn drop_use(&mut self, digest: Digest, released: &mut Vec<u64>) {
        let blob = self
            .blobs
            .get_mut(&digest)
            .expect("a retained version's parts are stored");
        blob.uses -= 1;
        if blob.uses == 0 {
            self.forget(digest, released);
        }
    }

    fn forget(&mut self, digest: Digest, released: &mut Vec<u64>) {
        let Some(blob) = self.blobs.remove(&digest) else {
            return;
        };
        let Some(alive) = self.packs.get_mut(&blob.place.pack) else {
            return;
        };
        *alive -= 1;
        if *alive == 0 {
            self.packs.remove(&blob.place.pack);
            released.push(blob.place.pack);
        }
    }

    pub(super) fn expire_staged(&mut self, index: u64, released: &mut Vec<u64>) {
        while let Some((&(pack, _), &digest)) = self.staged.first_key_value() {
            if self.staged_bytes <= STAGED_BYTES_MAX && index - pack <= STAGED_ENTRIES_MAX {
                break;
            }
            self.staged.pop_first();
            self.staged_bytes -= self.blobs.get(&digest).map_or(0, |blob| blob.place.len);
            self.forget(digest, released);
        }
    }
}

/// Parts age by the entry that brought them.
fn age(place: Place) -> (u64, u64) {
    (place.pack, place.offset)
}

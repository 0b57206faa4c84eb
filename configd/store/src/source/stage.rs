//! A full set that is under way: what came of it so far, beside the objects.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_proto::{objects::v1::Object, raft::v1};

use super::{Quota, SourceRefusal};
use crate::key::{ObjectKey, StoredObject};

/// Objects of a full set, at most.
pub(crate) const STAGE_OBJECTS_MAX: u64 = 200_000;
/// Bytes of a full set, keys included, at most.
pub(crate) const STAGE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the full sets of all sources, at most.
pub(crate) const STAGES_BYTES_MAX: u64 = 512 << 20;
/// Log entries after which a stage that nobody adds to is dropped.
pub(crate) const STAGE_ENTRIES_MAX: u64 = 10_000;

/// A full set that is not whole yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stage {
    /// The log index of its first piece.
    pub(crate) id: u64,
    /// The log index of its last piece.
    pub(crate) touched: u64,
    /// The session that it comes in; 0 for none.
    pub(crate) session: u64,
    /// Objects that differ from the stored ones.
    pub(crate) objects: BTreeMap<ObjectKey, Arc<StoredObject>>,
    /// Objects that are stored as the set has them, with their revisions.
    pub(crate) kept: BTreeMap<ObjectKey, u64>,
    bytes: u64,
}

impl Stage {
    /// An empty one.
    pub(crate) fn new(id: u64, touched: u64, session: u64) -> Self {
        Self {
            id,
            touched,
            session,
            ..Self::default()
        }
    }

    /// How many objects it has.
    pub(crate) fn len(&self) -> u64 {
        (self.objects.len() + self.kept.len()) as u64
    }

    /// Bytes of what it has.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a piece. What does not fit leaves the stage useless.
    pub(crate) fn add(&mut self, objects: &[Object], kept: &[v1::KeptObject]) {
        for object in objects {
            let Some(key) = object.key.clone().map(ObjectKey::from) else {
                continue;
            };
            let object = StoredObject::new(key, object, 0);
            self.restore(Arc::new(object));
        }
        for kept in kept {
            if let Some(key) = kept.key.clone().map(ObjectKey::from) {
                self.keep(key, kept.revision);
            }
        }
    }

    /// Takes an object.
    pub(crate) fn restore(&mut self, object: Arc<StoredObject>) {
        self.bytes += (object.content.len() + bytes_of(&object.key)) as u64;
        if let Some(before) = self.objects.insert(object.key.clone(), object) {
            self.bytes -= (before.content.len() + bytes_of(&before.key)) as u64;
        }
    }

    /// Takes the name of an object that is stored.
    pub(crate) fn keep(&mut self, key: ObjectKey, revision: u64) {
        let bytes = bytes_of(&key) as u64;
        if self.kept.insert(key, revision).is_none() {
            self.bytes += bytes;
        }
    }

    /// Whether it is within the bounds of a stage.
    pub(crate) fn fits(&self) -> Result<(), SourceRefusal> {
        let within = |what, found, limit| match found > limit {
            true => Err(SourceRefusal::StageFull(Quota { what, limit, found })),
            false => Ok(()),
        };
        within("objects", self.len(), STAGE_OBJECTS_MAX)?;
        within("bytes", self.bytes, STAGE_BYTES_MAX)
    }
}

fn bytes_of(key: &ObjectKey) -> usize {
    key.source().len()
        + key.group().len()
        + key.kind().len()
        + key.namespace().len()
        + key.name().len()
}

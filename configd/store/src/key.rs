//! Names of objects, and objects as they are stored.

use std::sync::Arc;

use bytes::Bytes;
pub use tidegate_ir::ObjectKey;
use tidegate_proto::objects::v1;

/// An object and the revision that last changed it. The content is opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Which object.
    pub key: ObjectKey,
    /// The API server's uid; at most 64 bytes.
    pub uid: String,
    /// metadata.generation; 0 where the source has none.
    pub generation: i64,
    /// Creation time in seconds since 1970-01-01 UTC.
    pub created_at_unix_s: i64,
    /// The object's bytes; at most 1 MiB.
    pub content: Bytes,
    /// The revision that last changed the object.
    pub revision: u64,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectChange {
    /// It is stored.
    Stored(Arc<StoredObject>),
    /// It is gone.
    Gone {
        /// Which.
        key: ObjectKey,
        /// The revision that deleted it.
        revision: u64,
    },
}

impl ObjectChange {
    /// The revision that made the change.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Stored(object) => object.revision,
            Self::Gone { revision, .. } => *revision,
        }
    }
}

/// Which objects; empty fields match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectFilter {
    /// Source.
    pub source: String,
    /// API group; compared only when `kind` is set.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Only keys after this one.
    pub after: Option<ObjectKey>,
    /// At most this many; `None` for all.
    pub limit: Option<usize>,
}

impl ObjectFilter {
    /// Whether `key` is asked for.
    pub(crate) fn matches(&self, key: &ObjectKey) -> bool {
        let is = |asked: &str, word: &Arc<str>| *asked == **word;
        (self.source.is_empty() || is(&self.source, key.source()))
            && (self.kind.is_empty()
                || (is(&self.kind, key.kind()) && is(&self.group, key.group())))
            && (self.namespace.is_empty() || is(&self.namespace, key.namespace()))
    }
}

impl StoredObject {
    /// Takes an object from a command. The content is copied, so that it does not keep the whole log entry alive.
    pub(crate) fn new(key: ObjectKey, object: &v1::Object, revision: u64) -> Self {
        Self {
            key,
            uid: object.uid.clone(),
            generation: object.generation,
            created_at_unix_s: object.created_at_unix_s,
            content: Bytes::copy_from_slice(&object.content),
            revision,
        }
    }

    /// Whether storing `other` in this one's place would change nothing.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.uid == other.uid
            && self.generation == other.generation
            && self.content == other.content
    }

    /// The object as it travels; the content is shared, not copied.
    pub fn to_proto(&self) -> v1::StoredObject {
        v1::StoredObject {
            object: Some(v1::Object {
                key: Some((&self.key).into()),
                uid: self.uid.clone(),
                generation: self.generation,
                created_at_unix_s: self.created_at_unix_s,
                content: self.content.clone(),
            }),
            revision: self.revision,
        }
    }
}

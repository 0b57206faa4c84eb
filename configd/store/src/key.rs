//! Names of objects, and objects as they are stored.

mod words;

use std::{cmp::Ordering, sync::Arc};

use bytes::Bytes;
use tidegate_ir::compare_words;
use tidegate_proto::objects::v1;

/// Names an object; ordered by source, group, kind, namespace and name. Clones share its words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// The cluster or file set; 1 to 63 bytes.
    pub source: Arc<str>,
    /// API group, empty for the core group; at most 253 bytes.
    pub group: Arc<str>,
    /// Kind; 1 to 63 bytes.
    pub kind: Arc<str>,
    /// Namespace, empty for cluster-scoped kinds; at most 63 bytes.
    pub namespace: Arc<str>,
    /// Name; 1 to 253 bytes.
    pub name: Arc<str>,
}

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

impl ObjectKey {
    /// A key of these words.
    pub fn new(source: &str, group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            source: words::shared(source),
            group: words::shared(group),
            kind: words::shared(kind),
            namespace: words::shared(namespace),
            name: name.into(),
        }
    }

    /// The key that travels as `key`. Words that `last` has, too, are taken from there: keys of one batch have most of them
    /// in common.
    pub(crate) fn after(last: Option<&Self>, key: &v1::ObjectKey) -> Self {
        let word = |known: Option<&Arc<str>>, word: &str| {
            let known = known.filter(|known| ***known == *word);
            known.cloned().unwrap_or_else(|| words::shared(word))
        };
        Self {
            source: word(last.map(|last| &last.source), &key.source),
            group: word(last.map(|last| &last.group), &key.group),
            kind: word(last.map(|last| &last.kind), &key.kind),
            namespace: word(last.map(|last| &last.namespace), &key.namespace),
            name: key.name.as_str().into(),
        }
    }

    fn words(&self) -> [&Arc<str>; 5] {
        [
            &self.source,
            &self.group,
            &self.kind,
            &self.namespace,
            &self.name,
        ]
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_words(self.words(), other.words())
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
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
        (self.source.is_empty() || is(&self.source, &key.source))
            && (self.kind.is_empty() || (is(&self.kind, &key.kind) && is(&self.group, &key.group)))
            && (self.namespace.is_empty() || is(&self.namespace, &key.namespace))
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

impl From<&v1::ObjectKey> for ObjectKey {
    fn from(key: &v1::ObjectKey) -> Self {
        Self::new(
            &key.source,
            &key.group,
            &key.kind,
            &key.namespace,
            &key.name,
        )
    }
}

impl From<v1::ObjectKey> for ObjectKey {
    fn from(key: v1::ObjectKey) -> Self {
        Self::from(&key)
    }
}

impl From<&ObjectKey> for v1::ObjectKey {
    fn from(key: &ObjectKey) -> Self {
        Self {
            source: key.source.to_string(),
            group: key.group.to_string(),
            kind: key.kind.to_string(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        }
    }
}

impl From<ObjectKey> for v1::ObjectKey {
    fn from(key: ObjectKey) -> Self {
        Self::from(&key)
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_by_their_words_whether_these_are_shared_or_not() {
        let words = ["", "a", "ab", "b"];
        let mut keys = Vec::new();
        for source in words {
            for namespace in words {
                for name in words {
                    keys.push(ObjectKey::new(source, "", "Service", namespace, name));
                    keys.push(ObjectKey {
                        source: source.into(),
                        group: "g".into(),
                        kind: "Service".into(),
                        namespace: namespace.into(),
                        name: name.into(),
                    });
                }
            }
        }
        let tuple = |key: &ObjectKey| {
            let ObjectKey {
                source,
                group,
                kind,
                namespace,
                name,
            } = key.clone();
            (source, group, kind, namespace, name)
        };
        for one in &keys {
            for other in &keys {
                assert_eq!(one.cmp(other), tuple(one).cmp(&tuple(other)));
            }
        }
        for one in &keys {
            for other in &keys {
                assert_eq!(ObjectKey::after(Some(one), &other.into()), *other);
            }
        }
        let two = [(); 2].map(|()| ObjectKey::new("s", "", "Service", "shop", "a"));
        assert!(Arc::ptr_eq(&two[0].namespace, &two[1].namespace));
    }
}

//! Names of objects: where they come from, what they are, and how they are called.

mod scopes;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tidegate_proto::objects::v1;

/// What the keys of one kind in one namespace have in common.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    source: Arc<str>,
    group: Arc<str>,
    kind: Arc<str>,
    namespace: Arc<str>,
}

/// Names an object; ordered by source, group, kind, namespace and name, which is the order of all outputs. Keys of one kind in
/// one namespace share all words but the name, so they are small, and most comparisons are of two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectKey {
    scope: Arc<Scope>,
    name: Arc<str>,
}

impl ObjectKey {
    /// A key of these words.
    pub fn new(source: &str, group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            scope: scopes::shared([source, group, kind, namespace]),
            name: name.into(),
        }
    }

    /// The key that travels as `key`, and `last` the one before it: keys of one batch have most words in common.
    pub fn after(last: Option<&Self>, key: &v1::ObjectKey) -> Self {
        let words = [&key.source, &key.group, &key.kind, &key.namespace].map(String::as_str);
        let scope = last.map(|last| &last.scope);
        let scope = scope.filter(|scope| scope.words() == words).cloned();
        Self {
            scope: scope.unwrap_or_else(|| scopes::shared(words)),
            name: key.name.as_str().into(),
        }
    }

    /// The cluster or file set that it comes from; 1 to 63 bytes.
    pub fn source(&self) -> &Arc<str> {
        &self.scope.source
    }

    /// API group, empty for the core group; at most 253 bytes.
    pub fn group(&self) -> &Arc<str> {
        &self.scope.group
    }

    /// Kind, such as `HTTPRoute`; 1 to 63 bytes.
    pub fn kind(&self) -> &Arc<str> {
        &self.scope.kind
    }

    /// Namespace, empty for objects of the whole cluster; at most 63 bytes.
    pub fn namespace(&self) -> &Arc<str> {
        &self.scope.namespace
    }

    /// Name; 1 to 253 bytes.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl Scope {
    fn of(words: [&str; 4]) -> Self {
        let [source, group, kind, namespace] = words.map(Arc::from);
        Self {
            source,
            group,
            kind,
            namespace,
        }
    }

    fn words(&self) -> [&str; 4] {
        [&self.source, &self.group, &self.kind, &self.namespace]
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let scopes = match Arc::ptr_eq(&self.scope, &other.scope) {
            true => Ordering::Equal,
            false => self.scope.cmp(&other.scope),
        };
        scopes.then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for ObjectKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The name alone tells most keys apart, and is the shortest way.
        self.name.hash(state);
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, namespace, name) = (self.kind(), self.namespace(), self.name());
        match namespace.is_empty() {
            true => write!(f, "{kind} {name}"),
            false => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}

impl From<&v1::ObjectKey> for ObjectKey {
    fn from(key: &v1::ObjectKey) -> Self {
        Self::after(None, key)
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
            source: key.source().to_string(),
            group: key.group().to_string(),
            kind: key.kind().to_string(),
            namespace: key.namespace().to_string(),
            name: key.name().to_string(),
        }
    }
}

impl From<ObjectKey> for v1::ObjectKey {
    fn from(key: ObjectKey) -> Self {
        Self::from(&key)
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
                        scope: Arc::new(Scope::of([source, "g", "Service", namespace])),
                        name: name.into(),
                    });
                }
            }
        }
        let tuple = |key: &ObjectKey| (key.scope.words().map(str::to_owned), key.name.clone());
        for one in &keys {
            for other in &keys {
                assert_eq!(one.cmp(other), tuple(one).cmp(&tuple(other)));
                assert_eq!(one == other, tuple(one) == tuple(other));
                assert_eq!(ObjectKey::after(Some(one), &other.into()), *other);
            }
        }
    }

    #[test]
    fn keys_of_one_scope_have_its_words_in_memory_once() {
        let two = ["a", "b"].map(|name| ObjectKey::new("s", "", "Service", "shop", name));
        assert!(Arc::ptr_eq(&two[0].scope, &two[1].scope));
    }
}

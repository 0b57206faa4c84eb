//! How objects of the cluster are named.

use std::fmt;
use std::sync::Arc;

use tidegate_proto::objects::v1 as wire;

/// Names an object of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectKey {
    /// API group; empty for the core group.
    pub(crate) group: Arc<str>,
    /// Kind, such as `HTTPRoute`.
    pub(crate) kind: Arc<str>,
    /// Namespace; empty for objects of the whole cluster.
    pub(crate) namespace: Arc<str>,
    /// Name.
    pub(crate) name: Arc<str>,
}

/// Names a kind of objects: its group, then its name.
pub(crate) type GroupKind = (Arc<str>, Arc<str>);

impl ObjectKey {
    pub(crate) fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    pub(crate) fn group_kind(&self) -> GroupKind {
        (self.group.clone(), self.kind.clone())
    }

    /// Whether it is of that kind.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        *self.group == *group && *self.kind == *kind
    }

    /// As configd names it.
    pub(crate) fn wire(&self, source: &str) -> wire::ObjectKey {
        wire::ObjectKey {
            source: source.to_owned(),
            group: self.group.to_string(),
            kind: self.kind.to_string(),
            namespace: self.namespace.to_string(),
            name: self.name.to_string(),
        }
    }
}

impl From<&wire::ObjectKey> for ObjectKey {
    fn from(key: &wire::ObjectKey) -> Self {
        Self::new(&key.group, &key.kind, &key.namespace, &key.name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

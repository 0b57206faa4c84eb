//! Names of objects and of parts.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::compare_words;

/// Name of a part, unique within its kind; cheap to clone.
pub type PartName = Arc<str>;

/// Namespace and name of a Kubernetes object.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name inside the namespace.
    pub name: Arc<str>,
}

impl ObjectName {
    /// Joins a namespace and a name.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl Ord for ObjectName {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_words(
            [&self.namespace, &self.name],
            [&other.namespace, &other.name],
        )
    }
}

impl PartialOrd for ObjectName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ObjectName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a part holds; ordered as the manifest orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum PartKind {
    /// A [`crate::Listener`].
    Listener = 1,
    /// A [`crate::Route`].
    Route = 2,
    /// A [`crate::Backend`].
    Backend = 3,
    /// A [`crate::EndpointSet`].
    EndpointSet = 4,
    /// A [`crate::Certificate`].
    Certificate = 5,
    /// A [`crate::PrivateKey`].
    PrivateKey = 6,
    /// A [`crate::TrustBundle`].
    TrustBundle = 7,
    /// A [`crate::L4Route`].
    L4Route = 8,
}

impl PartKind {
    /// The number that stands on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// The kind with that number on the wire.
    pub fn from_number(number: i32) -> Option<Self> {
        [
            Self::Listener,
            Self::Route,
            Self::Backend,
            Self::EndpointSet,
            Self::Certificate,
            Self::PrivateKey,
            Self::TrustBundle,
            Self::L4Route,
        ]
        .into_iter()
        .find(|kind| kind.number() == number)
    }
}

/// Identifies a part inside one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PartKey {
    /// What the part holds.
    pub kind: PartKind,
    /// Name within the kind.
    pub name: PartName,
}

impl PartKey {
    /// Joins a kind and a name.
    pub fn new(kind: PartKind, name: impl Into<PartName>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

impl fmt::Display for PartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

//! Objects that can be backends, and ports of them.

use std::fmt;
use std::sync::Arc;

use tidegate_ir::{BackendKind, PartName};

use crate::api::{EXPERIMENTAL_GROUP, MULTICLUSTER_GROUP};
use crate::objects::{ObjectKey, Objects, Place};
use crate::service::ServicePorts;

/// An object of a kind that can be a backend, whether it is there or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BackendObject {
    pub(crate) kind: BackendKind,
    pub(crate) place: Place,
}

/// A port of an object that can be a backend: what a backend part is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BackendPort {
    pub(crate) object: BackendObject,
    pub(crate) port: u16,
    /// Gets gRPC calls, which need HTTP/2 although the object does not say so.
    pub(crate) grpc: bool,
}

impl BackendObject {
    /// The object that a reference names; `None` for a kind that cannot be a backend.
    pub(crate) fn named(group: &str, kind: &str, place: Place) -> Option<Self> {
        let kind = match (group, kind) {
            ("", "Service") => BackendKind::Service,
            (MULTICLUSTER_GROUP, "ServiceImport") => BackendKind::ServiceImport,
            (EXPERIMENTAL_GROUP, "XBackend") => BackendKind::XBackend,
            _ => return None,
        };
        Some(Self { kind, place })
    }

    /// The key of the object, if it is there.
    pub(crate) fn key<'a>(&self, objects: &'a Objects) -> Option<&'a ObjectKey> {
        match self.kind {
            BackendKind::Service => Some(&objects.services.get(&self.place)?.key),
            BackendKind::ServiceImport => Some(&objects.service_imports.get(&self.place)?.key),
            BackendKind::XBackend => Some(&objects.x_backends.get(&self.place)?.key),
        }
    }

    /// The ports of a Service or ServiceImport that is there.
    pub(crate) fn ports<'a>(&self, objects: &'a Objects) -> Option<&'a ServicePorts> {
        match self.kind {
            BackendKind::Service => Some(&objects.services.get(&self.place)?.spec),
            BackendKind::ServiceImport => Some(&objects.service_imports.get(&self.place)?.spec),
            BackendKind::XBackend => None,
        }
    }
}

impl fmt::Display for BackendObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.object_kind(), self.place.object)
    }
}

impl BackendPort {
    /// Name of the backend part.
    pub(crate) fn part_name(&self) -> PartName {
        match self.grpc {
            true => format!("{}/grpc", self.endpoints_name()).into(),
            false => self.endpoints_name(),
        }
    }

    /// Name of the endpoint set, which is the same whatever is spoken.
    pub(crate) fn endpoints_name(&self) -> PartName {
        let Place { source, object } = &self.object.place;
        let name: Arc<str> = match self.object.kind {
            BackendKind::Service => format!("{source}/{object}/{}", self.port).into(),
            kind => format!("{source}/{}/{object}/{}", kind.object_kind(), self.port).into(),
        };
        name
    }
}

//! Objects that can be backends, and ports of them.

use std::fmt;

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
    pub(crate) traffic: Traffic,
}

/// What a backend gets, as far as that makes a part of its own; the first one sorts before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Traffic {
    /// Requests, in the version of HTTP that the object says.
    Http,
    /// gRPC calls, which need HTTP/2 although the object does not say so.
    Grpc,
    /// Bytes of TCP connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What carries the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Transport {
    Tcp,
    Udp,
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
        match self.traffic {
            Traffic::Http | Traffic::Udp => self.endpoints_name(),
            Traffic::Grpc => format!("{}/grpc", self.endpoints_name()).into(),
            Traffic::Tcp => format!("{}/tcp", self.endpoints_name()).into(),
        }
    }

    /// Name of the endpoint set, which is the same whatever is spoken over TCP.
    pub(crate) fn endpoints_name(&self) -> PartName {
        let Place { source, object } = &self.object.place;
        let kind = match self.object.kind {
            BackendKind::Service => String::new(),
            kind => format!("{}/", kind.object_kind()),
        };
        let transport = match self.traffic.transport() {
            Transport::Tcp => "",
            Transport::Udp => "/udp",
        };
        format!("{source}/{kind}{object}/{}{transport}", self.port).into()
    }
}

impl Traffic {
    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Grpc)
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Http | Self::Grpc | Self::Tcp => Transport::Tcp,
            Self::Udp => Transport::Udp,
        }
    }

    /// What becomes of traffic that no backend gets; `status` is the answer to requests.
    pub(crate) fn fate(self, status: u16) -> String {
        match self {
            Self::Http | Self::Grpc => format!("requests get {status}"),
            Self::Tcp => "connections are reset".to_owned(),
            Self::Udp => "datagrams are dropped".to_owned(),
        }
    }
}

impl Transport {
    /// The `protocol` of a port in a Service or EndpointSlice.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

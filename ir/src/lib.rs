//! The snapshot model that the control plane writes and the data plane reads: no clock, no I/O, no async.
//!
//! A [`Snapshot`] is a [`Manifest`] of small parts, each named by the [`Digest`] of its exact bytes.

mod backend;
mod diff;
mod digest;
mod filter;
mod hostname;
mod listener;
mod manifest;
mod matcher;
mod name;
mod part;
mod route;
mod snapshot;
mod tls;
mod wire;

pub use backend::{Backend, BackendProtocol, Endpoint, EndpointSet};
pub use diff::{ChangeType, FieldChange, PartChange, diff, fields};
pub use digest::{Digest, InvalidDigest};
pub use filter::{Filter, HeaderEdits, Mirror, PathEdit, Redirect, Rewrite};
pub use hostname::{Hostname, InvalidHostname};
pub use listener::{Listener, ListenerProtocol};
pub use manifest::{Manifest, ManifestDelta, manifest_digest};
pub use matcher::{Match, PathMatch, Precedence, StringMatch, ValueMatch};
pub use name::{ObjectName, PartKey, PartKind, PartName};
pub use part::{EncodedPart, Part};
pub use route::{
    Action, Attachment, HostClaim, Route, RouteKind, RouteOrder, Rule, Target, Timeouts,
    WeightedBackend,
};
pub use snapshot::{Dangling, Snapshot};
pub use tls::{Certificate, PrivateKey, SecretBytes};
pub use wire::InvalidPart;

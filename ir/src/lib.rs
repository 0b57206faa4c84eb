//! The snapshot model that the control plane writes and the data plane reads: no clock, no I/O, no async.
//!
//! A [`Snapshot`] is a [`Manifest`] of small parts, each named by the [`Digest`] of its exact bytes.

mod backend;
mod balancing;
mod cors;
mod diff;
mod digest;
mod edge;
mod external_auth;
mod filter;
mod hostname;
mod l4_route;
mod listener;
mod manifest;
mod matcher;
mod name;
mod object_key;
mod part;
mod persistent_map;
mod retry;
mod route;
mod session;
mod snapshot;
mod tls;
mod wire;
mod words;

pub use backend::{
    Backend, BackendKind, BackendProtocol, Destination, Endpoint, EndpointSet, ProxyVersion,
    Security,
};
pub use balancing::{Balancing, ConnectionLimits, Ejection, HashKey, RetryBudget};
pub use cors::Cors;
pub use diff::{ChangeType, FieldChange, PartChange, diff, fields};
pub use digest::{Digest, InvalidDigest};
pub use edge::{Cap, ClientTrust, Edge, EdgeBounds, Pace};
pub use external_auth::{AuthProtocol, ExternalAuth};
pub use filter::{Filter, HeaderEdits, Mirror, PathEdit, Redirect, Rewrite};
pub use hostname::{Hostname, InvalidHostname};
pub use l4_route::{L4Choice, L4Route, L4RouteKind};
pub use listener::{ClientValidation, Listener, ListenerProtocol, TlsMode};
pub use manifest::{Manifest, ManifestDelta, manifest_digest};
pub use matcher::{GrpcMethod, Match, PathMatch, Precedence, StringMatch, ValueMatch};
pub use name::{ObjectName, PartKey, PartKind, PartName};
pub use object_key::ObjectKey;
pub use part::{EncodedPart, Part};
pub use persistent_map::{Difference, PersistentMap};
pub use retry::Retry;
pub use route::{
    Action, Attachment, HostClaim, Route, RouteKind, RouteOrder, Rule, Target, Timeouts,
    WeightedBackend,
};
pub use session::{SessionCarrier, SessionPersistence};
pub use snapshot::{Dangling, Snapshot};
pub use tls::{
    BackendTls, Certificate, PrivateKey, SecretBytes, SubjectAltName, Trust, TrustBundle,
};
pub use wire::InvalidPart;
pub use words::{Words, compare_words};

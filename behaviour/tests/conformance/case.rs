//! What a case file says: objects, backends, certificates, and steps with what must come of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A case file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Case {
    /// One sentence on the behaviour.
    pub(crate) about: String,
    /// The Gateway that requests go to unless they name another; else that of the case.
    pub(crate) gateway: Option<String>,
    /// Certificates and authorities, made for each run.
    #[serde(default)]
    pub(crate) certificates: BTreeMap<String, CertificateSpec>,
    /// Backends by namespace and name.
    #[serde(default)]
    pub(crate) backends: BTreeMap<String, Option<BackendSpec>>,
    /// Objects by kind, namespace and name, without these.
    #[serde(default)]
    pub(crate) objects: BTreeMap<String, Value>,
    /// What happens, in this order.
    pub(crate) steps: Vec<Step>,
}

/// A certificate, self-signed unless it has an issuer.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateSpec {
    /// Whether it is an authority.
    #[serde(default)]
    pub(crate) authority: bool,
    /// The name of the authority that signs it.
    pub(crate) issuer: Option<String>,
    /// Its DNS names.
    #[serde(default)]
    pub(crate) dns: Vec<String>,
    /// Its URIs.
    #[serde(default)]
    pub(crate) uris: Vec<String>,
}

/// A Service with echo pods behind it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendSpec {
    /// Its pods: one that echoes, unless others are told.
    #[serde(default = "one_pod")]
    pub(crate) pods: Vec<PodSpec>,
    /// Also serves TLS.
    pub(crate) tls: Option<BackendTlsSpec>,
    /// Whether a Service and its EndpointSlices are made for it.
    #[serde(default = "yes")]
    pub(crate) service: bool,
    /// Whether it decides on other requests instead of echoing.
    #[serde(default)]
    pub(crate) authorizer: bool,
}

/// How a pod serves TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendTlsSpec {
    /// Name of its certificate.
    pub(crate) certificate: String,
    /// Name of the authority of the client certificates that it demands.
    pub(crate) clients: Option<String>,
}

/// How a pod differs from one that echoes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PodSpec {
    /// Answers everything with that status.
    pub(crate) answers: Option<u16>,
    /// Refuses connections.
    #[serde(default)]
    pub(crate) refuses: bool,
}

impl Default for BackendSpec {
    fn default() -> Self {
        Self {
            pods: one_pod(),
            tls: None,
            service: true,
            authorizer: false,
        }
    }
}

fn one_pod() -> Vec<PodSpec> {
    vec![PodSpec::default()]
}

fn yes() -> bool {
    true
}

/// A step; what it has is done in the order of the fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Step {
    /// Exchanges that are still going on when the next thing is done; each has reached a backend.
    #[serde(default)]
    pub(crate) begin: Vec<Exchange>,
    /// Objects that configd must refuse.
    #[serde(default)]
    pub(crate) refused: Vec<Refusal>,
    /// Objects that are added or replaced, at once.
    #[serde(default)]
    pub(crate) apply: BTreeMap<String, Value>,
    /// Objects that are deleted, at once.
    #[serde(default)]
    pub(crate) delete: Vec<String>,
    /// The only parts that `apply` and `delete` may change, as `<kind> <name>`.
    pub(crate) changes: Option<Vec<String>>,
    /// The status of objects, once it has settled.
    #[serde(default)]
    pub(crate) status: BTreeMap<String, Value>,
    /// Exchanges, one after the other.
    #[serde(default)]
    pub(crate) requests: Vec<Exchange>,
    /// Whether backends answer what they hold, and the exchanges that have begun must now end well.
    #[serde(default)]
    pub(crate) finish: bool,
}

/// An object that configd must refuse.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusal {
    /// Exactly one.
    pub(crate) object: BTreeMap<String, Value>,
    /// What its message must contain: the path of the field.
    pub(crate) field: String,
}

/// A request, and what must come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Exchange {
    /// Method and URL; port and scheme choose the listener's port.
    pub(crate) send: String,
    /// How the client speaks.
    #[serde(default)]
    pub(crate) over: Over,
    /// The Gateway as `namespace/name`.
    pub(crate) gateway: Option<String>,
    /// The port of the listener where the URL is to say another one, or none.
    pub(crate) port: Option<u16>,
    /// Headers of the request.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, OneOrMany>,
    /// Body of the request.
    #[serde(default)]
    pub(crate) body: String,
    /// The server name of the handshake, where it is not the URL's host.
    pub(crate) sni: Option<String>,
    /// Name of the certificate that the client shows.
    pub(crate) certificate: Option<String>,
    /// Name of the authority that the client trusts; else all of the case.
    pub(crate) trust: Option<String>,
    /// The client keeps cookies and session headers under that name.
    pub(crate) jar: Option<String>,
    /// How many times it is sent over one connection.
    #[serde(default = "once")]
    pub(crate) times: usize,
    /// Whether each time has a connection of its own instead.
    #[serde(default)]
    pub(crate) fresh: bool,
    /// How many messages a gRPC or WebSocket client sends, each after the answer to the one before.
    #[serde(default = "once")]
    pub(crate) messages: usize,
    /// What must come of it each time.
    #[serde(default)]
    pub(crate) expect: Expect,
}

fn once() -> usize {
    1
}

/// How a client speaks; TLS and its ALPN follow the URL's scheme.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Over {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, over plain TCP with prior knowledge.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// WebSocket over HTTP/1.1.
    Websocket,
    /// WebSocket on a stream of HTTP/2.
    WebsocketHttp2,
    /// One datagram, and the one that answers it.
    Udp,
}

/// A header's value or values.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One field.
    One(String),
    /// As many fields.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The values in order.
    pub(crate) fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// What must come of a request; what is absent does not matter, but for the status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Expect {
    /// The statuses that are right: 200 (101 for a WebSocket) unless told.
    #[serde(default, deserialize_with = "one_or_many")]
    pub(crate) status: Vec<u16>,
    /// The backend that answers; empty for none.
    pub(crate) backend: Option<String>,
    /// What the backend saw.
    pub(crate) sees: Option<Value>,
    /// Headers of the answer.
    pub(crate) headers: Option<Value>,
    /// The body of the answer.
    pub(crate) body: Option<String>,
    /// The gRPC status code.
    pub(crate) grpc: Option<u16>,
    /// Neither TLS nor HTTP comes to an answer.
    #[serde(default)]
    pub(crate) fails: bool,
    /// The reason for which the worker drops the datagram.
    pub(crate) dropped: Option<String>,
    /// How many different pods answer over all times.
    pub(crate) pods: Option<usize>,
    /// Percent of the answers by backend, within four standard deviations.
    #[serde(default)]
    pub(crate) shares: BTreeMap<String, f64>,
    /// Percent of the requests that reach a backend as copies, within four standard deviations.
    #[serde(default)]
    pub(crate) copies: BTreeMap<String, f64>,
    /// The requests that reach a backend: their number, or what each looks like there.
    #[serde(default)]
    pub(crate) seen: BTreeMap<String, Value>,
    /// The request is sent until all else holds that many times in a row.
    #[serde(default)]
    pub(crate) eventually: usize,
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Statuses {
        One(u16),
        Many(Vec<u16>),
    }
    Ok(match Statuses::deserialize(deserializer)? {
        Statuses::One(status) => vec![status],
        Statuses::Many(statuses) => statuses,
    })
}

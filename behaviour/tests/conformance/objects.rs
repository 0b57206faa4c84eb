//! From what a case says about objects to what configd takes.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tidegate_proto::objects::v1::{Object, ObjectKey};

use crate::backend::{Backend, Pod};
use crate::certificates::Certificates;

/// Where the objects come from, as far as configd knows.
const SOURCE: &str = "cases";
/// When objects were created that do not say when: 2023-11-14.
const CREATED_UNIX_S: i64 = 1_700_000_000;
/// Kinds with their `apiVersion`; all others are of Gateway API's standard group.
const API_VERSIONS: [(&str, &str); 13] = [
    ("BackendPolicy", "tidegate.dev/v1alpha1"),
    ("ClusterTrustBundle", "certificates.k8s.io/v1beta1"),
    ("ConfigMap", "v1"),
    ("EndpointSlice", "discovery.k8s.io/v1"),
    ("GatewayParameters", "tidegate.dev/v1alpha1"),
    ("Namespace", "v1"),
    ("Pod", "v1"),
    ("ReferenceGrant", "gateway.networking.k8s.io/v1beta1"),
    ("Secret", "v1"),
    ("Service", "v1"),
    ("ServiceImport", "multicluster.x-k8s.io/v1alpha1"),
    ("XBackend", "gateway.networking.x-k8s.io/v1alpha1"),
    (
        "XBackendTrafficPolicy",
        "gateway.networking.x-k8s.io/v1alpha1",
    ),
];

/// What an object is called: `HTTPRoute shop/cart`, `GatewayClass tidegate`.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    api_version: &'static str,
    kind: String,
    namespace: String,
    name: String,
}

/// The generations of objects, counted as an API server does.
#[derive(Debug, Default)]
pub(crate) struct Generations(BTreeMap<String, (Value, i64)>);

impl Identity {
    /// Reads a name.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let (kind, name) = text
            .split_once(' ')
            .with_context(|| format!("{text:?} is not a kind and a name"))?;
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        let row = API_VERSIONS.iter().find(|(known, _)| *known == kind);
        Ok(Self {
            api_version: row.map_or("gateway.networking.k8s.io/v1", |(_, version)| version),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The key in configd.
    pub(crate) fn key(&self) -> ObjectKey {
        let group = self
            .api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group);
        ObjectKey {
            source: SOURCE.to_owned(),
            group: group.to_owned(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

impl Generations {
    /// The generation of an object as it is now.
    pub(crate) fn get(&self, name: &str) -> Option<i64> {
        self.0.get(name).map(|(_, generation)| *generation)
    }

    /// Makes the object that configd takes.
    pub(crate) fn object(&mut self, name: &str, body: &Value) -> anyhow::Result<Object> {
        let identity = Identity::parse(name)?;
        let mut content = body.as_object().cloned().unwrap_or_default();
        content.insert("apiVersion".to_owned(), json!(identity.api_version));
        content.insert("kind".to_owned(), json!(identity.kind));
        let metadata = content.entry("metadata").or_insert_with(|| json!({}));
        metadata["name"] = json!(identity.name);
        if !identity.namespace.is_empty() {
            metadata["namespace"] = json!(identity.namespace);
        }
        let created = match metadata["creationTimestamp"].as_str() {
            Some(time) => time.parse::<Timestamp>()?.as_second(),
            None => CREATED_UNIX_S,
        };
        if metadata["creationTimestamp"].is_null() {
            metadata
                .as_object_mut()
                .map(|all| all.remove("creationTimestamp"));
        }
        Ok(Object {
            key: Some(identity.key()),
            uid: uid(name),
            generation: self.next(name, content.get("spec").unwrap_or(&Value::Null)),
            created_at_unix_s: created,
            content: Value::Object(content).to_string().into(),
        })
    }

    fn next(&mut self, name: &str, spec: &Value) -> i64 {
        let known = self.0.get(name);
        let generation = match known {
            Some((before, generation)) if before == spec => *generation,
            Some((_, generation)) => generation + 1,
            None => 1,
        };
        self.0.insert(name.to_owned(), (spec.clone(), generation));
        generation
    }
}

/// As stable as the name, and as short as a real one.
fn uid(name: &str) -> String {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What every case has: the class, its namespaces, and Services with EndpointSlices.
pub(crate) fn surroundings(
    named: &BTreeMap<String, Value>,
    backends: &[Backend],
) -> BTreeMap<String, Value> {
    let mut objects = BTreeMap::new();
    let class = json!({"spec": {"controllerName": crate::world::CONTROLLER_NAME}});
    objects.insert("GatewayClass tidegate".to_owned(), class);
    let of_objects = named.keys().filter_map(|name| {
        let (_, name) = name.split_once(' ')?;
        Some(name.split_once('/')?.0)
    });
    let of_backends = backends.iter().map(|backend| backend.namespace.as_str());
    let namespaces: BTreeSet<_> = of_objects.chain(of_backends).collect();
    for namespace in namespaces {
        let labels = json!({"kubernetes.io/metadata.name": namespace});
        let body = json!({"metadata": {"labels": labels}});
        objects.insert(format!("Namespace {namespace}"), body);
    }
    for backend in backends.iter().filter(|backend| backend.spec.service) {
        let Backend {
            namespace, name, ..
        } = backend;
        objects.insert(format!("Service {namespace}/{name}"), service(backend));
        for pod in &backend.pods {
            let slice = format!("EndpointSlice {namespace}/{}", pod.name);
            objects.insert(slice, endpoint_slice(backend, pod));
        }
    }
    objects
}

/// What a port of a Service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Plain,
    Tls,
    Datagrams,
}

/// A port of each Service: its name, number and `appProtocol`, and what it speaks.
type Port = (&'static str, u16, Option<&'static str>, Speaks);

const PORTS: [Port; 7] = [
    ("http", 8080, None, Speaks::Plain),
    ("h2c", 8081, Some("kubernetes.io/h2c"), Speaks::Plain),
    ("ws", 8082, Some("kubernetes.io/ws"), Speaks::Plain),
    ("grpc", 9000, None, Speaks::Plain),
    ("https", 8443, None, Speaks::Tls),
    ("wss", 8444, Some("kubernetes.io/wss"), Speaks::Tls),
    ("udp", 5300, None, Speaks::Datagrams),
];

fn ports(backend: &Backend) -> impl Iterator<Item = &'static Port> {
    let tls = backend.spec.tls.is_some();
    PORTS
        .iter()
        .filter(move |(.., speaks)| tls || *speaks != Speaks::Tls)
}

impl Speaks {
    fn protocol(self) -> &'static str {
        match self {
            Self::Plain | Self::Tls => "TCP",
            Self::Datagrams => "UDP",
        }
    }

    fn port(self, pod: &Pod) -> u16 {
        match self {
            Self::Plain => pod.port,
            Self::Tls => pod.tls_port,
            Self::Datagrams => pod.udp_port,
        }
    }
}

fn service(backend: &Backend) -> Value {
    let ports = ports(backend).map(|(name, port, app_protocol, speaks)| {
        let mut port = json!({"name": name, "port": port, "protocol": speaks.protocol()});
        if let Some(app_protocol) = app_protocol {
            port["appProtocol"] = json!(app_protocol);
        }
        port
    });
    let ports: Vec<_> = ports.collect();
    json!({"spec": {"selector": {"app": backend.name}, "ports": ports}})
}

fn endpoint_slice(backend: &Backend, pod: &Pod) -> Value {
    let ports = ports(backend).map(|(name, _, _, speaks)| {
        json!({"name": name, "port": speaks.port(pod), "protocol": speaks.protocol()})
    });
    let ports: Vec<_> = ports.collect();
    json!({
        "metadata": {"labels": {"kubernetes.io/service-name": backend.name}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
    })
}

/// What stands for `${kind:name}` in a case file.
#[derive(Debug)]
pub(crate) struct Placeholders<'a> {
    /// For `certificate`, `key` (base64 of PEM, as in a Secret) and `ca` (PEM, as in a ConfigMap).
    pub(crate) certificates: &'a Certificates,
    /// For `port` and `tlsPort` of a pod.
    pub(crate) backends: &'a [Backend],
}

impl Placeholders<'_> {
    /// Replaces them in all texts of a value; a text that is only a port becomes a number.
    pub(crate) fn fill(&self, value: Value) -> anyhow::Result<Value> {
        Ok(match value {
            Value::String(text) => self.text(text)?,
            Value::Array(values) => {
                let values = values.into_iter().map(|value| self.fill(value));
                Value::Array(values.collect::<anyhow::Result<_>>()?)
            }
            Value::Object(map) => {
                let entries = map
                    .into_iter()
                    .map(|(key, value)| Ok((key, self.fill(value)?)));
                Value::Object(entries.collect::<anyhow::Result<Map<_, _>>>()?)
            }
            other => other,
        })
    }

    fn text(&self, text: String) -> anyhow::Result<Value> {
        let Some((before, rest)) = text.split_once("${") else {
            return Ok(Value::String(text));
        };
        let (inner, after) = rest.split_once('}').context("a placeholder ends with }")?;
        let (kind, name) = inner
            .split_once(':')
            .context("a placeholder is ${kind:name}")?;
        let value = match kind {
            "certificate" => json!(BASE64_STANDARD.encode(self.certificates.pem(name)?)),
            "key" => json!(BASE64_STANDARD.encode(self.certificates.key_pem(name)?)),
            "ca" => json!(self.certificates.pem(name)?),
            "port" => json!(self.pod(name)?.port),
            "tlsPort" => json!(self.pod(name)?.tls_port),
            _ => anyhow::bail!("there are no placeholders ${{{kind}:…}}"),
        };
        if before.is_empty() && after.is_empty() {
            return Ok(value);
        }
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        self.text(format!("{before}{value}{after}"))
    }

    fn pod(&self, name: &str) -> anyhow::Result<&Pod> {
        let found = self.backends.iter().find_map(|backend| {
            let name = name.strip_prefix(&*backend.namespace)?.strip_prefix('/')?;
            backend.pods.iter().find(|pod| pod.name == name)
        });
        found.with_context(|| format!("the case has no pod {name}"))
    }
}

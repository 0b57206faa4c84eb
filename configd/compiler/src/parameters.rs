//! GatewayParameters: which ones a Gateway has, and what they say for each of its ports.

mod last;

use std::collections::BTreeSet;
use std::num::{NonZeroU8, NonZeroU64};
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::{Map, Value, json};
use tidegate_ir::{Cap, ClientTrust, Edge, EdgeBounds, Pace};

use crate::api::OWN_GROUP;
use crate::api::gateway::{GatewayClassSpec, GatewaySpec};
use crate::api::gateway_parameters::{
    ClientParameters, GatewayParametersSpec, LimitParameters, PaceParameters,
    ProxyProtocolParameters, WorkerParameters,
};
use crate::api::quantity::Quantity;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::gateway::GatewayPlan;
use crate::objects::{Objects, Parsed, Place};
use crate::read::strip_nulls;

pub(crate) use last::LastParameters;

/// What GatewayParameters say.
#[derive(Debug, Clone)]
pub(crate) struct GatewayParameters {
    /// `spec` as JSON.
    text: Arc<str>,
    /// What holds on every port.
    everywhere: Edge,
    proxy_protocol: Option<ProxyProtocol>,
    /// Whether Gateways share their workers, where it says so.
    is_shared: Option<bool>,
    /// What it says of workers that several Gateways may share.
    workers: Map<String, Value>,
}

/// Whether connections begin with a PROXY header.
#[derive(Debug, Clone)]
struct ProxyProtocol {
    required: bool,
    /// Empty for all ports.
    ports: BTreeSet<u16>,
}

/// The parameters of a Gateway: its own, then those of its class.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    pub(crate) own: Option<Arc<Parsed<GatewayParameters>>>,
    pub(crate) of_class: Option<Arc<Parsed<GatewayParameters>>>,
}

/// Names an object that may be GatewayParameters.
struct Reference<'r> {
    group: &'r str,
    kind: &'r str,
    place: Place,
}

/// The parameters of a class.
///
/// # Errors
/// With a sentence, where its reference does not lead to any.
pub(crate) fn of_class(
    objects: &Objects,
    class: &Parsed<GatewayClassSpec>,
) -> Result<Option<Arc<Parsed<GatewayParameters>>>, String> {
    let Some(reference) = &class.spec.parameters_ref else {
        return Ok(None);
    };
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let (group, kind) = (&reference.group, &reference.kind);
    let place = Place::new(class.key.source(), namespace, &reference.name);
    let reference = Reference { group, kind, place };
    if reference.is_ours() && namespace.is_empty() {
        return Err(format!(
            "GatewayParameters {} needs a namespace; set parametersRef.namespace",
            reference.place.object.name
        ));
    }
    reference.follow(objects).map(Some)
}

/// The parameters of a Gateway, without those of its class.
///
/// # Errors
/// With a sentence, where its reference does not lead to any.
pub(crate) fn of_gateway(
    objects: &Objects,
    gateway: &Parsed<GatewaySpec>,
) -> Result<Option<Arc<Parsed<GatewayParameters>>>, String> {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let reference = infrastructure.and_then(|own| own.parameters_ref.as_ref());
    let Some(reference) = reference else {
        return Ok(None);
    };
    let key = &gateway.key;
    let (group, kind) = (&reference.group, &reference.kind);
    let place = Place::new(key.source(), key.namespace(), &reference.name);
    Reference { group, kind, place }.follow(objects).map(Some)
}

/// Says which parameters nobody uses.
pub(crate) fn report_unused<'p>(
    objects: &Objects,
    gateways: impl Iterator<Item = &'p GatewayPlan>,
    findings: &mut Vec<Diagnostic>,
) {
    if objects.parameters.is_empty() {
        return;
    }
    let used = gateways.flat_map(|plan| plan.parameters.both());
    let used: BTreeSet<_> = used.map(|parameters| &parameters.key).collect();
    let unused = objects.parameters.values();
    for parameters in unused.filter(|own| !used.contains(&own.key)) {
        let message = "no Gateway of ours has these parameters; name them in infrastructure.parametersRef, or in that of its GatewayClass";
        let code = &codes::PARAMETERS_UNUSED;
        findings.push(Diagnostic::new(&parameters.key, "", code, message));
    }
}

impl Reference<'_> {
    fn is_ours(&self) -> bool {
        (self.group, self.kind) == (OWN_GROUP, "GatewayParameters")
    }

    fn follow(&self, objects: &Objects) -> Result<Arc<Parsed<GatewayParameters>>, String> {
        let object = &self.place.object;
        if !self.is_ours() {
            return Err(format!(
                "{} {} of group {:?} is of a kind that is not supported; use GatewayParameters of group {OWN_GROUP:?}",
                self.kind, object.name, self.group
            ));
        }
        let found = objects.parameters.get(&self.place).cloned();
        found.ok_or_else(|| {
            format!(
                "GatewayParameters {object} does not exist or is not valid; create or correct it"
            )
        })
    }
}

impl Parameters {
    /// Those by which a Gateway was served last, but for what is known now.
    pub(crate) fn or_last(
        own: Option<Option<Arc<Parsed<GatewayParameters>>>>,
        of_class: Option<Option<Arc<Parsed<GatewayParameters>>>>,
        gateway: &Parsed<GatewaySpec>,
    ) -> Option<Self> {
        let last = gateway.spec.last_parameters.as_ref()?;
        Some(Self {
            own: own.unwrap_or_else(|| last.own(gateway)),
            of_class: of_class.unwrap_or_else(|| last.of_class(gateway)),
        })
    }

    /// As whoever runs the workers is to remember them; `None` where that is too much.
    pub(crate) fn to_remember(&self) -> Option<Arc<str>> {
        last::written(self)
    }

    /// How clients are met on a port: field by field, the first word counts.
    pub(crate) fn on_port(&self, port: u16) -> Edge {
        let words = self.both().map(|one| one.spec.on_port(port));
        words.fold(Edge::default(), Edge::or)
    }

    /// The ports on which the Gateway's own parameters ask for, or against, the PROXY protocol.
    pub(crate) fn proxy_ports(&self) -> impl Iterator<Item = u16> {
        let proxy = self
            .own
            .iter()
            .filter_map(|own| own.spec.proxy_protocol.as_ref());
        proxy.flat_map(|proxy| &proxy.ports).copied()
    }

    /// Whether the Gateway shares its workers with others of its class and namespace.
    pub(crate) fn is_shared(&self) -> bool {
        let mut words = self.both().filter_map(|one| one.spec.is_shared);
        words.next().unwrap_or(false)
    }

    /// Whether the Gateways of both, which are of one class, ask for the same workers.
    pub(crate) fn agree_on_workers(&self, other: &Self) -> bool {
        let none = Map::new();
        let workers = |one: &Option<Arc<Parsed<GatewayParameters>>>| {
            one.as_ref().map(|own| own.spec.workers.clone())
        };
        workers(&self.own).unwrap_or_else(|| none.clone()) == workers(&other.own).unwrap_or(none)
    }

    fn both(&self) -> impl Iterator<Item = &Arc<Parsed<GatewayParameters>>> {
        self.own.iter().chain(&self.of_class)
    }
}

impl GatewayParameters {
    /// Reads what the rules of the kind have let through.
    pub(crate) fn new(spec: &GatewayParametersSpec) -> Self {
        let everywhere = Edge {
            trust: trust(&spec.clients),
            proxy_protocol: None,
            send_via: spec.clients.send_via,
            merge_slashes: spec.paths.merge_slashes,
            bounds: bounds(&spec.limits),
        };
        let proxy_protocol = spec.clients.proxy_protocol.as_ref();
        let mut whole = json!(spec);
        strip_nulls(&mut whole);
        Self {
            text: whole.to_string().into(),
            everywhere,
            proxy_protocol: proxy_protocol.map(ProxyProtocol::new),
            is_shared: spec.workers.sharing.as_ref().map(|word| word == "Shared"),
            workers: shareable(&spec.workers),
        }
    }

    fn on_port(&self, port: u16) -> Edge {
        let proxy = self.proxy_protocol.as_ref();
        Edge {
            proxy_protocol: proxy
                .filter(|proxy| proxy.is_for(port))
                .map(|proxy| proxy.required),
            ..self.everywhere.clone()
        }
    }
}

impl ProxyProtocol {
    fn new(spec: &ProxyProtocolParameters) -> Self {
        Self {
            required: spec.mode == "Required",
            ports: spec.ports.iter().copied().collect(),
        }
    }

    fn is_for(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.contains(&port)
    }
}

/// What is said of workers without what is said of a Gateway's Service, which is always its own.
fn shareable(workers: &WorkerParameters) -> Map<String, Value> {
    let mut others = workers.others.clone();
    others.remove("service");
    if let Some(patches) = others.get_mut("patches").and_then(Value::as_array_mut) {
        patches.retain(|patch| patch["kind"] != "Service");
        if patches.is_empty() {
            others.remove("patches");
        }
    }
    others
}

fn trust(clients: &ClientParameters) -> Option<ClientTrust> {
    if let Some(networks) = &clients.trusted_cidrs {
        let networks = networks.iter().filter_map(|text| network(text).ok());
        let networks: BTreeSet<IpNet> = networks.collect();
        return Some(match networks.is_empty() {
            true => ClientTrust::Nobody,
            false => ClientTrust::Networks(networks.into_iter().collect()),
        });
    }
    let hops = u8::try_from(clients.trusted_hops?).ok()?;
    Some(NonZeroU8::new(hops).map_or(ClientTrust::Nobody, ClientTrust::Hops))
}

/// A network such as `10.0.0.0/8`.
///
/// # Errors
/// With a sentence, where it is none.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let network: IpNet = text
        .parse()
        .map_err(|_| format!("{text:?} is no network; write one such as 10.0.0.0/8 or fd00::/8"))?;
    if network.trunc() == network {
        Ok(network)
    } else {
        Err(format!(
            "{text} has bits beyond its prefix; write {} for the network or {}/{} for the address",
            network.trunc(),
            network.addr(),
            network.max_prefix_len()
        ))
    }
}

fn bounds(limits: &LimitParameters) -> EdgeBounds {
    let count = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
    let number = |number: Option<u64>| number.and_then(NonZeroU64::new);
    let bytes = |bytes: Option<Quantity>| bytes.map(|Quantity(bytes)| bytes);
    let ms = |time: &Option<String>| time.as_deref().and_then(duration::parse_ms);
    EdgeBounds {
        request_line_bytes_max: number(bytes(limits.request_line_bytes)),
        header_bytes_max: number(bytes(limits.header_bytes)),
        header_count_max: number(count(limits.header_count)),
        request_body_bytes_max: bytes(limits.body_bytes).map(Cap::from),
        body_pace: limits.body_pace.as_ref().and_then(pace),
        header_timeout_ms: number(ms(&limits.header_timeout)),
        idle_timeout_ms: number(ms(&limits.idle_timeout)),
        request_timeout_ms: ms(&limits.request_timeout).map(Cap::from),
        handshake_timeout_ms: number(ms(&limits.handshake_timeout)),
        write_stall_timeout_ms: number(ms(&limits.write_stall_timeout)),
        connections_max: number(count(limits.connections)),
        connections_per_client_max: count(limits.connections_per_client).map(Cap::from),
    }
}

fn pace(pace: &PaceParameters) -> Option<Pace> {
    Some(Pace {
        bytes_min: pace.bytes.0,
        period_ms: NonZeroU64::new(duration::parse_ms(&pace.period)?)?,
    })
}

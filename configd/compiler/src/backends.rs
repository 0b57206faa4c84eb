//! The parts for ports of backends, kept until the object, its endpoints or its policies change.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_ir::{
    Backend, BackendKind, BackendProtocol, Balancing, ConnectionLimits, Destination, Ejection,
    EncodedPart, Endpoint, EndpointSet, HashKey, Part, ProxyVersion, RetryBudget, Security,
    SessionPersistence,
};

use crate::backend_object::{BackendObject, BackendPort, Traffic};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::endpoints;
use crate::objects::{ObjectKey, Objects};
use crate::policy::tls::{self, Validated};
use crate::policy::{PolicyKind, balancing, in_force, traffic};
use crate::totals::Totals;
use crate::{session, x_backend};

/// The parts for all ports that routes use.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    parts: BTreeMap<BackendPort, BackendParts>,
    /// Ports whose parts were forgotten.
    stale: BTreeSet<BackendPort>,
}

/// The parts for one port.
#[derive(Debug)]
pub(crate) struct BackendParts {
    backend: EncodedPart,
    /// `None` for a backend that the DNS leads to.
    endpoints: Option<EncodedPart>,
    /// Authorities and certificates for TLS.
    others: Vec<EncodedPart>,
    /// What is wrong with the endpoints.
    pub(crate) findings: Vec<Diagnostic>,
}

impl Backends {
    /// Forgets what was made of an object.
    pub(crate) fn forget(&mut self, object: &BackendObject) {
        let from = BackendPort {
            object: object.clone(),
            port: 0,
            traffic: Traffic::Http,
        };
        let ports = self.parts.range(from..).map(|(port, _)| port);
        let ports: Vec<_> = ports
            .take_while(|port| port.object == *object)
            .cloned()
            .collect();
        for port in ports {
            self.parts.remove(&port);
            self.stale.insert(port);
        }
    }

    /// Makes the parts that are used and missing, and drops those that are no longer used; returns the
    /// ports that it looked at.
    pub(crate) fn refresh(
        &mut self,
        objects: &Objects,
        totals: &mut Totals,
    ) -> BTreeSet<BackendPort> {
        let mut ports = totals.take_touched();
        ports.append(&mut self.stale);
        for port in &ports {
            let parts = totals.uses(port).then(|| BackendParts::new(port, objects));
            match parts.flatten() {
                Some(parts) => drop(self.parts.insert(port.clone(), parts)),
                None => drop(self.parts.remove(port)),
            }
        }
        ports
    }

    pub(crate) fn get(&self, port: &BackendPort) -> Option<&BackendParts> {
        self.parts.get(port)
    }
}

/// What is known of a port, of whatever kind the object is.
struct Resolved {
    protocol: BackendProtocol,
    destination: Destination,
    endpoints: Vec<Endpoint>,
    tls: Option<Validated>,
    session: Option<SessionPersistence>,
    findings: Vec<Diagnostic>,
}

impl BackendParts {
    /// All parts.
    pub(crate) fn all(&self) -> impl Iterator<Item = &EncodedPart> {
        let endpoints = self.endpoints.iter();
        std::iter::once(&self.backend)
            .chain(endpoints)
            .chain(&self.others)
    }

    /// `None` when the object has gone or changed since the reference was resolved.
    fn new(port: &BackendPort, objects: &Objects) -> Option<Self> {
        let resolved = match port.object.kind {
            BackendKind::XBackend => x_backend_port(port, objects)?,
            BackendKind::Service | BackendKind::ServiceImport => service_port(port, objects)?,
        };
        let policies = Policies::new(port, objects);
        let (security, tls_parts) = match resolved.tls {
            Some(validated) => (validated.security, validated.parts),
            None => (Security::Plain, vec![]),
        };
        let session = match resolved.destination {
            Destination::Endpoints(_) if port.traffic.is_http() => {
                resolved.session.or(policies.session)
            }
            Destination::Endpoints(_) | Destination::Dns { .. } => None,
        };
        let findings = resolved.findings.into_iter().chain(policies.findings);
        let endpoints = match &resolved.destination {
            Destination::Endpoints(name) => Some(Part::EndpointSet(EndpointSet {
                name: name.clone(),
                endpoints: resolved.endpoints,
            })),
            Destination::Dns { .. } => None,
        };
        // Connections of HTTP are shared by clients: none of them could be told.
        let is_tcp = resolved.protocol == BackendProtocol::Tcp;
        let proxy_protocol = policies.proxy_protocol.filter(|_| is_tcp);
        let backend = Backend {
            name: port.part_name(),
            kind: port.object.kind,
            object: port.object.place.object.clone(),
            port: port.port,
            protocol: resolved.protocol,
            security,
            destination: resolved.destination,
            balancing: policies.balancing,
            limits: policies.limits,
            ejection: policies.ejection,
            retry_budget: policies.retry_budget,
            session,
            proxy_protocol,
        };
        Some(Self {
            backend: EncodedPart::encode(backend.into()),
            endpoints: endpoints.map(EncodedPart::encode),
            others: tls_parts.into_iter().map(EncodedPart::encode).collect(),
            findings: findings.collect(),
        })
    }
}

fn service_port(port: &BackendPort, objects: &Objects) -> Option<Resolved> {
    let object = &port.object;
    let key = object.key(objects)?;
    let ports = object.ports(objects)?;
    let policy = in_force(objects, PolicyKind::Tls, port);
    let policy = policy.and_then(|place| objects.backend_tls_policies.get(&place));
    let tls = policy.map(|policy| tls::of_policy(objects, &policy.key, &policy.spec));
    let protocol = ports
        .protocol(port.port, port.traffic, tls.is_some())
        .ok()?;
    let port_name = ports.port_name(port.port, port.traffic.transport())?;
    let endpoints = endpoints::of_slices(objects, port, port_name);
    let mut findings = vec![];
    if endpoints.is_empty() {
        let way_out = match object.kind {
            BackendKind::ServiceImport => "export the Service in a cluster where it has pods",
            _ => "start a pod that the Service selects, or add an EndpointSlice",
        };
        let message = format!(
            "port {} has no ready endpoint, so its {}; {way_out}",
            port.port,
            port.traffic.fate(503)
        );
        findings.push(Diagnostic::new(
            key,
            "spec.ports",
            &codes::NO_ENDPOINTS,
            message,
        ));
    }
    if let Some(slice) = endpoints::slice_of_names(objects, object) {
        let message = format!(
            "EndpointSlice {slice} has addressType FQDN, which gets no requests; use IPv4 or IPv6, or an XBackend with externalHostname"
        );
        findings.push(Diagnostic::new(
            key,
            "spec.ports",
            &codes::ENDPOINT_NAMES,
            message,
        ));
    }
    Some(Resolved {
        protocol,
        destination: Destination::Endpoints(port.endpoints_name()),
        endpoints,
        tls,
        session: None,
        findings,
    })
}

fn x_backend_port(port: &BackendPort, objects: &Objects) -> Option<Resolved> {
    let backend = objects.x_backends.get(&port.object.place)?;
    let spec = &backend.spec;
    let protocol = x_backend::protocol(spec, port.traffic)?;
    if port.port != spec.port.number {
        return None;
    }
    let endpoints = x_backend::selected(objects, backend);
    let mut findings = vec![];
    if endpoints.is_empty() && spec.endpoint_selector.is_some() {
        let message = format!(
            "no ready Pod has these labels, so {}; start one or correct matchLabels",
            port.traffic.fate(503)
        );
        let field = "spec.endpointSelector";
        let code = &codes::NO_ENDPOINTS;
        findings.push(Diagnostic::new(&backend.key, field, code, message));
    }
    let session = spec.session_persistence.as_ref();
    Some(Resolved {
        protocol,
        destination: x_backend::destination(spec, port.endpoints_name()),
        endpoints,
        tls: x_backend::security(objects, backend),
        session: session.map(|session| session::compile(session, &backend.key.to_string())),
        findings,
    })
}

/// What the policies without a say in TLS ask for.
struct Policies {
    balancing: Balancing,
    limits: ConnectionLimits,
    ejection: Option<Ejection>,
    retry_budget: Option<RetryBudget>,
    session: Option<SessionPersistence>,
    /// What has no meaning for the traffic.
    findings: Vec<Diagnostic>,
    proxy_protocol: Option<ProxyVersion>,
}

impl Policies {
    fn new(port: &BackendPort, objects: &Objects) -> Self {
        let mut policies = Self {
            balancing: Balancing::RoundRobin,
            limits: ConnectionLimits::default(),
            ejection: Some(balancing::DEFAULT_EJECTION),
            retry_budget: None,
            session: None,
            findings: vec![],
            proxy_protocol: None,
        };
        let policy = in_force(objects, PolicyKind::Balancing, port);
        if let Some(policy) = policy.and_then(|place| objects.backend_policies.get(&place)) {
            policies.balancing = balancing::balancing(&policy.spec);
            policies.limits = balancing::limits(&policy.spec);
            policies.ejection = balancing::ejection(&policy.spec);
            if !port.traffic.is_http() {
                policies.keep_to_layer_4(port, &policy.key);
            }
            policies.proxy_protocol = balancing::proxy_protocol(&policy.spec);
        }
        // It bounds retries and keeps sessions, and only requests have those.
        let policy = in_force(objects, PolicyKind::Traffic, port);
        let policy = policy.filter(|_| port.traffic.is_http());
        if let Some(policy) = policy.and_then(|place| objects.traffic_policies.get(&place)) {
            policies.retry_budget = traffic::retry_budget(&policy.spec);
            let session = policy.spec.session_persistence.as_ref();
            // Of the object, so that the cookie stays when another policy takes over.
            policies.session =
                session.map(|session| session::compile(session, &port.object.to_string()));
        }
        policies
    }

    /// Leaves out what only requests have.
    fn keep_to_layer_4(&mut self, port: &BackendPort, policy: &ObjectKey) {
        let connections = self.limits.connections;
        self.limits = ConnectionLimits {
            connections: connections.filter(|_| port.traffic == Traffic::Tcp),
            ..ConnectionLimits::default()
        };
        if let Balancing::RingHash(HashKey::Header(_) | HashKey::Cookie(_)) = self.balancing {
            self.balancing = Balancing::RingHash(HashKey::ClientIp);
            let message = format!(
                "what port {} of {} gets by {} has no headers, so there the client's address is hashed",
                port.port,
                port.object,
                port.traffic.transport().name()
            );
            let code = &codes::POLICY_HASH;
            let field = "spec.loadBalancing.hashOn";
            self.findings
                .push(Diagnostic::new(policy, field, code, message));
        }
    }
}

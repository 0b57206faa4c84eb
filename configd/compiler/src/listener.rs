//! Listeners of a Gateway: what each may serve, and what is wrong with it.

pub(crate) mod certificates;
pub(crate) mod conflict;
mod protocol;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_ir::{
    Edge, Filter, Hostname, Listener, ListenerProtocol, ObjectName, PartName, TlsMode,
};

use crate::api::GATEWAY_GROUP;
use crate::api::gateway::{self as api, GatewaySpec};
use crate::api::meta::LabelSelector;
use crate::backend_object::{BackendPort, Transport};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::frontend::{Asked, Frontend};
use crate::objects::{ObjectKey, Objects, Parsed};
use crate::route::{self, RouteKind};
use crate::status::{Condition, conditions};
use crate::tls::{self, CertificateRefs};

pub(crate) use protocol::Protocol;

/// A condition of ours: clients will refuse what the listener shows.
const CERTIFICATE_NAME_MISMATCH: &str = "tidegate.dev/CertificateNameMismatch";

/// A listener with its conflicts, defaults and references settled.
#[derive(Debug, Clone)]
pub(crate) struct ListenerPlan {
    /// What routes see of it.
    pub(crate) view: ListenerView,
    /// The port that the worker binds.
    pub(crate) bind_port: u16,
    /// Kinds of routes that may attach.
    pub(crate) supported_kinds: Vec<RouteKind>,
    /// Certificates that it presents, in the order of the object.
    pub(crate) certificates: Vec<tls::CertificateUse>,
    /// What it asks of clients.
    pub(crate) asked: Option<Asked>,
    /// Run before a route is looked for.
    filters: Vec<Filter>,
    /// Ports of Services that the filters refer to.
    pub(crate) backends: BTreeSet<BackendPort>,
    /// The object that holds it, and its place there.
    key: ObjectKey,
    field: String,
    /// `None` for one that is not supported.
    protocol: Option<Protocol>,
    /// The same as the object states it.
    protocol_name: String,
    refused: Option<Refusal>,
    unresolved: Option<(&'static str, String)>,
    unusable: bool,
    overlap: Option<String>,
    /// Why clients will refuse its certificates.
    mismatch: Option<String>,
}

/// What routes see of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerView {
    pub(crate) holder: Holder,
    /// Namespace of the holder: what `Same` means for routes.
    pub(crate) namespace: Arc<str>,
    pub(crate) section_name: Arc<str>,
    pub(crate) part_name: PartName,
    pub(crate) port: u16,
    pub(crate) hostname: Hostname,
    /// Whether it is part of the snapshot.
    pub(crate) served: bool,
    /// Kinds of routes that may attach.
    pub(crate) kinds: Vec<RouteKind>,
    pub(crate) from: AllowedNamespaces,
}

/// The object that holds a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    Gateway,
    ListenerSet(ObjectName),
}

/// Namespaces from which routes or ListenerSets may attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowedNamespaces {
    All,
    Same,
    Selector(LabelSelector),
    None,
}

/// Why a listener is not accepted.
#[derive(Debug, Clone)]
struct Refusal {
    reason: &'static str,
    conflict: bool,
    message: String,
}

/// Listeners of one object, and what they stand in.
pub(crate) struct Held<'a> {
    pub(crate) objects: &'a Objects,
    pub(crate) gateway: &'a Parsed<GatewaySpec>,
    pub(crate) frontend: &'a Frontend,
    pub(crate) holder: Holder,
    /// The holder.
    pub(crate) key: &'a ObjectKey,
    pub(crate) listeners: &'a [api::Listener],
}

/// Makes the plans of the listeners of one object.
pub(crate) fn plan_all(held: &Held<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<ListenerPlan> {
    let listeners = held.listeners.iter().enumerate();
    let plans = listeners.map(|(index, listener)| {
        let mut planning = Planning {
            held,
            listener,
            field: format!("spec.listeners[{index}]"),
            diagnostics,
        };
        planning.plan()
    });
    plans.collect()
}

struct Planning<'a> {
    held: &'a Held<'a>,
    listener: &'a api::Listener,
    field: String,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Planning<'_> {
    fn plan(&mut self) -> ListenerPlan {
        let listener = self.listener;
        let protocol = Protocol::of(listener);
        let https = protocol == Some(Protocol::Https);
        let ends_tls = protocol.is_some_and(Protocol::ends_tls);
        let mut backends = BTreeSet::new();
        let mut unresolved = None;
        let (filters, refused) = match self.refusal() {
            Some(refusal) => (vec![], Some(refusal)),
            None => match self.filters(&mut backends, &mut unresolved) {
                Ok(filters) => (filters, None),
                Err(refusal) => (vec![], Some(refusal)),
            },
        };
        let able = protocol.map_or(&[][..], Protocol::route_kinds);
        let (supported_kinds, invalid_kinds) = self.kinds(able);
        let CertificateRefs {
            certificates,
            problem,
        } = if ends_tls && refused.is_none() {
            let (objects, key) = (self.held.objects, self.held.key);
            tls::resolve(objects, key, listener, &self.field, self.diagnostics)
        } else {
            CertificateRefs::default()
        };
        let asked = self.held.frontend.on_port(listener.port).filter(|_| https);
        let refused = refused.or_else(|| asked.and_then(without_authority));
        let unusable = (ends_tls && certificates.is_empty()) || supported_kinds.is_empty();
        let view = self.view(refused.is_none(), supported_kinds.clone());
        ListenerPlan {
            view,
            bind_port: listener.port,
            supported_kinds,
            certificates,
            asked: asked.cloned(),
            filters,
            backends,
            key: self.held.key.clone(),
            field: self.field.clone(),
            protocol,
            protocol_name: listener.protocol.clone(),
            refused,
            unresolved: problem
                .or(invalid_kinds)
                .or_else(|| asked.and_then(|asked| asked.problem.clone()))
                .or(unresolved),
            unusable,
            overlap: None,
            mismatch: None,
        }
    }

    fn view(&mut self, served: bool, kinds: Vec<RouteKind>) -> ListenerView {
        let listener = self.listener;
        let hostname = listener.hostname.as_deref().unwrap_or_default();
        let gateway = self.held.gateway.name();
        let part_name = match &self.held.holder {
            Holder::Gateway => format!("{gateway}/{}", listener.name),
            Holder::ListenerSet(set) => format!("{gateway}/ListenerSet/{set}/{}", listener.name),
        };
        ListenerView {
            holder: self.held.holder.clone(),
            namespace: self.held.key.namespace.clone(),
            section_name: listener.name.as_str().into(),
            part_name: part_name.into(),
            port: listener.port,
            hostname: Hostname::parse(hostname).unwrap_or(Hostname::Any),
            served,
            kinds,
            from: self.namespaces(),
        }
    }

    fn filters(
        &mut self,
        backends: &mut BTreeSet<BackendPort>,
        unresolved: &mut Option<(&'static str, String)>,
    ) -> Result<Vec<Filter>, Refusal> {
        let filters = self
            .listener
            .filters
            .iter()
            .flat_map(|filters| &filters.requests);
        let mut compiled = vec![];
        for (index, filter) in filters.enumerate() {
            let field = format!("filters.requests[{index}]");
            let Some(auth) = &filter.external_auth else {
                let message = format!("filter {} is not supported; remove it", filter.type_);
                return Err(self.refuse_value(&field, message));
            };
            let field = format!("{}.{field}.externalAuth", self.field);
            let (objects, key) = (self.held.objects, self.held.key);
            let filter =
                route::listener_auth(objects, key, auth, &field, backends, self.diagnostics);
            let (filter, problem) = filter.map_err(|message| Refusal {
                reason: "UnsupportedValue",
                conflict: false,
                message,
            })?;
            *unresolved = unresolved.take().or(problem);
            compiled.push(filter);
        }
        Ok(compiled)
    }

    fn refusal(&mut self) -> Option<Refusal> {
        let listener = self.listener;
        if Protocol::of(listener).is_none() {
            let message = format!(
                "protocol {} is not supported; HTTP, HTTPS, TLS, TCP and UDP are",
                listener.protocol
            );
            let code = &codes::LISTENER_PROTOCOL;
            return Some(self.refuse("protocol", code, "UnsupportedProtocol", message));
        }
        let unsupported = |field: &str| format!("{field} is not supported yet; remove it");
        let options = listener
            .tls
            .as_ref()
            .is_some_and(|tls| !tls.options.is_empty());
        if options {
            return Some(self.refuse_value("tls.options", unsupported("tls.options")));
        }
        None
    }

    fn refuse_value(&mut self, field: &str, message: String) -> Refusal {
        self.refuse(field, &codes::LISTENER_FIELD, "UnsupportedValue", message)
    }

    fn refuse(
        &mut self,
        field: &str,
        code: &codes::Code,
        reason: &'static str,
        message: String,
    ) -> Refusal {
        self.report(field, code, message.clone());
        Refusal {
            reason,
            conflict: false,
            message,
        }
    }

    fn report(&mut self, field: &str, code: &codes::Code, message: String) {
        let field = match field {
            "" => self.field.clone(),
            field => format!("{}.{field}", self.field),
        };
        self.diagnostics
            .push(Diagnostic::new(self.held.key, field, code, message));
    }

    /// The kinds that may attach, and what is wrong with the list in the object.
    fn kinds(&mut self, able: &[RouteKind]) -> (Vec<RouteKind>, Option<(&'static str, String)>) {
        let allowed = self.listener.allowed_routes.as_ref();
        let Some(kinds) = allowed.and_then(|allowed| allowed.kinds.as_ref()) else {
            return (able.to_vec(), None);
        };
        if kinds.is_empty() {
            return (able.to_vec(), None);
        }
        let mut supported = vec![];
        let mut problem = None;
        for (index, kind) in kinds.iter().enumerate() {
            let known = able
                .iter()
                .find(|able| kind.group == GATEWAY_GROUP && kind.kind == able.object_kind());
            match known {
                Some(known) if supported.contains(known) => {}
                Some(known) => supported.push(*known),
                None => {
                    let able: Vec<_> = able.iter().map(|able| able.object_kind()).collect();
                    let can = match able.as_slice() {
                        [] => "no route can".to_owned(),
                        able => format!("{} can", able.join(" and ")),
                    };
                    let message = format!(
                        "{} of group {:?} cannot attach to a listener of protocol {}; {can}",
                        kind.kind, kind.group, self.listener.protocol
                    );
                    let field = format!("allowedRoutes.kinds[{index}]");
                    self.report(&field, &codes::LISTENER_ROUTE_KIND, message.clone());
                    problem = problem
                        .or_else(|| Some(("InvalidRouteKinds", format!("{field}: {message}"))));
                }
            }
        }
        (supported, problem)
    }

    fn namespaces(&mut self) -> AllowedNamespaces {
        let allowed = self.listener.allowed_routes.as_ref();
        let Some(namespaces) = allowed.and_then(|allowed| allowed.namespaces.as_ref()) else {
            return AllowedNamespaces::Same;
        };
        let (from, selector) = (namespaces.from.as_deref(), namespaces.selector.as_ref());
        if from == Some("Selector") && selector.is_none() {
            let message = "from is Selector, but there is no selector, so no namespace is chosen";
            let field = "allowedRoutes.namespaces";
            self.report(field, &codes::LISTENER_SELECTOR, message.to_owned());
        }
        AllowedNamespaces::read(from, selector, AllowedNamespaces::Same)
    }
}

/// Clients that nobody could vouch for are not let in (GEP-91).
fn without_authority(asked: &Asked) -> Option<Refusal> {
    let (_, message) = asked.problem.as_ref()?;
    asked.trust.is_none().then(|| Refusal {
        reason: "NoValidCACertificate",
        conflict: false,
        message: message.clone(),
    })
}

impl AllowedNamespaces {
    /// Reads what an object says; a selector that is missing is left to the caller.
    pub(crate) fn read(
        from: Option<&str>,
        selector: Option<&LabelSelector>,
        default: Self,
    ) -> Self {
        match (from, selector) {
            (None, _) => default,
            (Some("All"), _) => Self::All,
            (Some("Same"), _) => Self::Same,
            (Some("Selector"), Some(selector)) => Self::Selector(selector.clone()),
            (Some(_), _) => Self::None,
        }
    }

    pub(crate) fn allow(
        &self,
        gateway_namespace: &str,
        route_namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        match self {
            Self::All => true,
            Self::Same => gateway_namespace == route_namespace,
            Self::Selector(selector) => selector.matches(labels),
            Self::None => false,
        }
    }
}

impl ListenerPlan {
    /// Whether the specification's `Accepted` is true.
    pub(crate) fn is_accepted(&self) -> bool {
        self.refused.is_none()
    }

    /// What its port is a port of.
    pub(crate) fn transport(&self) -> Transport {
        self.protocol.map_or(Transport::Tcp, Protocol::transport)
    }

    /// Whether requests can get through it.
    pub(crate) fn is_usable(&self) -> bool {
        self.refused.is_none() && !self.unusable
    }

    /// Whether it serves all that it should.
    pub(crate) fn is_sound(&self) -> bool {
        self.refused.is_none() && self.unresolved.is_none()
    }

    /// Whether all its references are resolved.
    pub(crate) fn is_resolved(&self) -> bool {
        self.unresolved.is_none()
    }

    /// The part that the worker gets.
    pub(crate) fn part(
        &self,
        gateway: ObjectName,
        backend_client_certificate: Option<PartName>,
        edge: Edge,
    ) -> Listener {
        let protocol = self.served_protocol();
        // UDP has no connections that an edge could speak of.
        let edge = match protocol {
            ListenerProtocol::Udp => Edge::default(),
            _ => edge,
        };
        Listener {
            name: self.view.part_name.clone(),
            gateway,
            listener_set: match &self.view.holder {
                Holder::Gateway => None,
                Holder::ListenerSet(set) => Some(set.clone()),
            },
            section_name: self.view.section_name.clone(),
            port: self.view.port,
            bind_port: self.bind_port,
            hostname: self.view.hostname.clone(),
            protocol,
            filters: self.filters.clone(),
            backend_client_certificate,
            edge: Box::new(edge),
        }
    }

    fn served_protocol(&self) -> ListenerProtocol {
        let certificates = self.certificates.iter();
        let certificates = || certificates.map(|used| used.part_name.clone()).collect();
        match self.protocol.expect("one without a protocol is refused") {
            Protocol::Http => ListenerProtocol::Http,
            Protocol::Https => ListenerProtocol::Https {
                certificates: certificates(),
                client_validation: self.asked.as_ref().and_then(Asked::validation),
            },
            Protocol::TlsTerminate => ListenerProtocol::Tls(TlsMode::Terminate {
                certificates: certificates(),
                client_validation: None,
            }),
            Protocol::TlsPassthrough => ListenerProtocol::Tls(TlsMode::Passthrough),
            Protocol::Tcp => ListenerProtocol::Tcp,
            Protocol::Udp => ListenerProtocol::Udp,
        }
    }

    /// Its entry in the status of its holder; `attached` counts the accepted routes of each listener.
    pub(crate) fn status(
        &self,
        gateway_accepted: bool,
        attached: &BTreeMap<Arc<str>, usize>,
        generation: i64,
    ) -> Value {
        let kinds = self.supported_kinds.iter();
        let kinds = kinds.map(|kind| json!({"group": GATEWAY_GROUP, "kind": kind.object_kind()}));
        json!({
            "name": &*self.view.section_name,
            "supportedKinds": kinds.collect::<Vec<_>>(),
            "attachedRoutes": attached.get(&self.view.part_name).copied().unwrap_or(0),
            "conditions": conditions(&self.conditions(gateway_accepted), generation),
        })
    }

    /// Conditions of the listener; `gateway_accepted` is that of its Gateway.
    fn conditions(&self, gateway_accepted: bool) -> Vec<Condition> {
        let accepted = match &self.refused {
            None => Condition::yes("Accepted", "Accepted", "The listener is accepted"),
            Some(refusal) => Condition::no("Accepted", refusal.reason, &refusal.message),
        };
        let conflicted = match &self.refused {
            Some(refusal) if refusal.conflict => {
                Condition::yes("Conflicted", refusal.reason, &refusal.message)
            }
            _ => Condition::no("Conflicted", "NoConflicts", "The listener has no conflicts"),
        };
        let resolved = match &self.unresolved {
            None => Condition::yes(
                "ResolvedRefs",
                "ResolvedRefs",
                "All references are resolved",
            ),
            Some((reason, message)) => Condition::no("ResolvedRefs", reason, message),
        };
        let overlap = self.overlap.iter();
        let overlap = overlap
            .map(|message| Condition::yes("OverlappingTLSConfig", "OverlappingHostnames", message));
        let mismatch = self.mismatch.iter();
        let mismatch = mismatch
            .map(|message| Condition::yes(CERTIFICATE_NAME_MISMATCH, "NoMatchingName", message));
        let programmed = self.programmed(gateway_accepted);
        [accepted, conflicted, programmed, resolved]
            .into_iter()
            .chain(overlap)
            .chain(mismatch)
            .collect()
    }

    fn programmed(&self, gateway_accepted: bool) -> Condition {
        if let Some(refusal) = &self.refused {
            let reason = if refusal.conflict {
                refusal.reason
            } else {
                "Invalid"
            };
            return Condition::no("Programmed", reason, &refusal.message);
        }
        if !gateway_accepted {
            let message = "The Gateway is not accepted, see its conditions";
            return Condition::no("Programmed", "Invalid", message);
        }
        match &self.unresolved {
            Some((_, message)) if self.unusable => Condition::no("Programmed", "Invalid", message),
            _ => Condition::yes("Programmed", "Programmed", "The listener is programmed"),
        }
    }
}

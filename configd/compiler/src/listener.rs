//! Listeners of a Gateway: what each may serve, and what is wrong with it.

mod conflict;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_ir::{Hostname, Listener, ListenerProtocol, ObjectName, PartName, RouteKind};

use crate::api::GATEWAY_GROUP;
use crate::api::gateway::{self as api, GatewaySpec};
use crate::api::meta::LabelSelector;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::objects::{Objects, Parsed};
use crate::status::Condition;
use crate::tls::{self, CertificateRefs};

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
    https: bool,
    refused: Option<Refusal>,
    unresolved: Option<(&'static str, String)>,
    unusable: bool,
    overlap: Option<String>,
}

/// What routes see of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerView {
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

/// Namespaces from which routes may attach.
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

/// Makes the plans of all listeners of a Gateway.
pub(crate) fn plan_all(
    objects: &Objects,
    gateway: &Parsed<GatewaySpec>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<ListenerPlan> {
    let listeners = gateway.spec.listeners.iter().enumerate();
    let mut plans: Vec<_> = listeners
        .map(|(index, listener)| {
            let field = format!("spec.listeners[{index}]");
            let mut planning = Planning {
                objects,
                gateway,
                listener,
                field,
                diagnostics,
            };
            planning.plan()
        })
        .collect();
    conflict::refuse_conflicts(gateway, &mut plans, diagnostics);
    conflict::note_overlaps(gateway, &mut plans, diagnostics);
    plans
}

struct Planning<'a> {
    objects: &'a Objects,
    gateway: &'a Parsed<GatewaySpec>,
    listener: &'a api::Listener,
    field: String,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Planning<'_> {
    fn plan(&mut self) -> ListenerPlan {
        let listener = self.listener;
        let https = listener.protocol == "HTTPS";
        let refused = self.refusal();
        let speaks_http = https || listener.protocol == "HTTP";
        let (supported_kinds, invalid_kinds) = self.kinds(speaks_http);
        let CertificateRefs {
            certificates,
            problem,
        } = if https && refused.is_none() {
            tls::resolve(
                self.objects,
                self.gateway,
                listener,
                &self.field,
                self.diagnostics,
            )
        } else {
            CertificateRefs::default()
        };
        let unusable = (https && certificates.is_empty()) || supported_kinds.is_empty();
        let hostname = listener.hostname.as_deref().unwrap_or_default();
        let view = ListenerView {
            section_name: listener.name.as_str().into(),
            part_name: format!("{}/{}", self.gateway.name(), listener.name).into(),
            port: listener.port,
            hostname: Hostname::parse(hostname).unwrap_or(Hostname::Any),
            served: refused.is_none(),
            kinds: supported_kinds.clone(),
            from: self.namespaces(),
        };
        ListenerPlan {
            view,
            bind_port: listener.port,
            supported_kinds,
            certificates,
            https,
            refused,
            unresolved: problem.or(invalid_kinds),
            unusable,
            overlap: None,
        }
    }

    fn refusal(&mut self) -> Option<Refusal> {
        let listener = self.listener;
        if !matches!(listener.protocol.as_str(), "HTTP" | "HTTPS") {
            let message = format!(
                "protocol {} is not supported; HTTP and HTTPS are",
                listener.protocol
            );
            let code = &codes::LISTENER_PROTOCOL;
            return Some(self.refuse("protocol", code, "UnsupportedProtocol", message));
        }
        let unsupported = |field: &str| format!("{field} is not supported yet; remove it");
        if listener.filters.is_some() {
            let message = unsupported("filters");
            return Some(self.refuse_value("filters", message));
        }
        let options = listener
            .tls
            .as_ref()
            .is_some_and(|tls| !tls.options.is_empty());
        if options {
            return Some(self.refuse_value("tls.options", unsupported("tls.options")));
        }
        let frontend = self
            .gateway
            .spec
            .tls
            .as_ref()
            .and_then(|tls| tls.frontend.as_ref());
        if frontend.is_some() && listener.protocol == "HTTPS" {
            let message = "the Gateway's spec.tls.frontend is not supported yet, and without it \
                           clients would not be verified; remove it";
            return Some(self.refuse_value("", message.to_owned()));
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
            .push(Diagnostic::new(&self.gateway.key, field, code, message));
    }

    /// The kinds that may attach, and what is wrong with the list in the object.
    fn kinds(&mut self, speaks_http: bool) -> (Vec<RouteKind>, Option<(&'static str, String)>) {
        let able: &[RouteKind] = match speaks_http {
            true => &[RouteKind::Http, RouteKind::Grpc],
            false => &[],
        };
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
                    let message = format!(
                        "{} of group {:?} cannot attach to a listener of protocol {}; HTTPRoute and GRPCRoute can, to HTTP and HTTPS",
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
        match namespaces.from.as_deref() {
            Some("All") => AllowedNamespaces::All,
            None | Some("Same") => AllowedNamespaces::Same,
            Some("Selector") => match &namespaces.selector {
                Some(selector) => AllowedNamespaces::Selector(selector.clone()),
                None => {
                    let message =
                        "from is Selector, but there is no selector, so no namespace is chosen";
                    let field = "allowedRoutes.namespaces";
                    self.report(field, &codes::LISTENER_SELECTOR, message.to_owned());
                    AllowedNamespaces::None
                }
            },
            Some(_) => AllowedNamespaces::None,
        }
    }
}

impl AllowedNamespaces {
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
    pub(crate) fn part(&self, gateway: ObjectName) -> Listener {
        let certificates = self.certificates.iter();
        let certificates = certificates.map(|used| used.part_name.clone()).collect();
        Listener {
            name: self.view.part_name.clone(),
            gateway,
            listener_set: None,
            section_name: self.view.section_name.clone(),
            port: self.view.port,
            bind_port: self.bind_port,
            hostname: self.view.hostname.clone(),
            protocol: if self.https {
                ListenerProtocol::Https {
                    certificates,
                    client_validation: None,
                }
            } else {
                ListenerProtocol::Http
            },
            filters: vec![],
            backend_client_certificate: None,
        }
    }

    /// Conditions of the listener; `gateway_accepted` is that of its Gateway.
    pub(crate) fn conditions(&self, gateway_accepted: bool) -> Vec<Condition> {
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
        let programmed = self.programmed(gateway_accepted);
        [accepted, conflicted, programmed, resolved]
            .into_iter()
            .chain(overlap)
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

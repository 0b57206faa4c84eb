//! From what an object says of a listener to its plan, but for conflicts with others.

use std::collections::BTreeSet;

use tidegate_ir::{Filter, Hostname};

use super::{AllowedNamespaces, Holder, ListenerPlan, ListenerView, Protocol, Refusal};
use crate::api::GATEWAY_GROUP;
use crate::api::gateway::{self as api, GatewaySpec};
use crate::backend_object::BackendPort;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::frontend::{Asked, Frontend};
use crate::objects::{ObjectKey, Objects, Parsed};
use crate::route::{self, RouteKind};
use crate::tls::{self, CertificateRefs};

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
        let asked = self.held.frontend.on_port(listener.port);
        if asked.is_some() && ends_tls && !https {
            let message = "spec.tls.frontend verifies the clients of HTTPS listeners only; those of this TLS listener are let in without a certificate";
            self.report("protocol", &codes::CLIENTS_UNVERIFIED, message.to_owned());
        }
        let asked = asked.filter(|_| https);
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
            namespace: self.held.key.namespace().clone(),
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

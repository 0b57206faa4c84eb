//! Joins a route with the listeners of its parents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_ir::{Attachment, Hostname};

use super::attach::{Rejection, Visitor, attach, namespace_labels};
use super::backend_ref::References;
use super::compile::Surroundings;
use super::rules::Rules;
use super::view::RouteObject;
use super::{Dependency, Findings, parent_status};
use crate::api::GATEWAY_GROUP;
use crate::api::meta::ParentReference;
use crate::codes;
use crate::gateway::GatewayView;
use crate::listener::{Holder, ListenerView};
use crate::objects::Place;
use crate::status::Condition;

/// Joins a route with the listeners of its parents.
pub(super) struct Joining<'a> {
    surroundings: Surroundings<'a>,
    route: &'a RouteObject<'a>,
    rules: &'a Rules,
    pub(super) dependencies: BTreeSet<Dependency>,
    pub(super) attached: BTreeSet<(Place, Arc<str>)>,
    pub(super) attachments: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Attachment>>,
}

impl<'a> Joining<'a> {
    pub(super) fn new(
        surroundings: Surroundings<'a>,
        route: &'a RouteObject<'a>,
        rules: &'a Rules,
    ) -> Self {
        Self {
            surroundings,
            route,
            rules,
            dependencies: BTreeSet::new(),
            attached: BTreeSet::new(),
            attachments: BTreeMap::new(),
        }
    }

    /// The entries of `status.parents`.
    pub(super) fn join(
        &mut self,
        references: &References<'_>,
        findings: &mut Findings<'_>,
    ) -> Vec<serde_json::Value> {
        let key = self.route.key;
        let namespace = Place::cluster_wide(key.source(), key.namespace());
        let labels = namespace_labels(self.surroundings.objects, &namespace);
        self.dependencies.insert(Dependency::Namespace(namespace));
        let hostnames = hostnames(self.route.spec.hostnames);
        let visitor = Visitor {
            kind: self.route.spec.rules.kind(),
            namespace: key.namespace(),
            namespace_labels: &labels,
            hostnames: &hostnames,
        };
        let resolved = match &references.unresolved {
            None => Condition::yes(
                "ResolvedRefs",
                "ResolvedRefs",
                "All references are resolved",
            ),
            Some((reason, message)) => Condition::no("ResolvedRefs", reason, message),
        };
        if self.route.spec.parent_refs.is_empty() {
            let message = "the route names no parent, so nothing serves it; add one";
            findings.report("parentRefs", &codes::NO_PARENTS, message);
        }
        if self.route.spec.use_default_gateways {
            let message =
                "useDefaultGateways is not supported yet; name the Gateways in parentRefs";
            findings.report("useDefaultGateways", &codes::UNSUPPORTED_VALUE, message);
        }
        let mut parents = vec![];
        for (index, parent) in self.route.spec.parent_refs.iter().enumerate() {
            let field = format!("parentRefs[{index}]");
            let Some(accepted) = self.accept(parent, &field, &visitor, findings) else {
                continue;
            };
            let partial = (accepted.status && !self.rules.unsupported.is_empty()).then(|| {
                let message = format!(
                    "Dropped Rule: requests that one of its matches takes get 500; a match that does not compile takes none, so they go where other rules send them. {}",
                    self.rules.unsupported.join(". ")
                );
                Condition::yes("PartiallyInvalid", "UnsupportedValue", message)
            });
            let own: Vec<_> = [accepted, resolved.clone()]
                .into_iter()
                .chain(partial)
                .collect();
            let controller_name = self.surroundings.controller_name;
            parents.push(parent_status(
                parent,
                controller_name,
                &own,
                self.route.generation,
            ));
        }
        parents
    }

    /// The Gateway that a parentRef leads to, by way of a ListenerSet or not; `None` if it is not ours.
    fn find_parent(
        &mut self,
        parent: &ParentReference,
        field: &str,
        findings: &mut Findings<'_>,
    ) -> Option<(Place, Holder)> {
        let key = self.route.key;
        let namespace = parent.namespace.as_deref().unwrap_or(key.namespace());
        let place = Place::new(key.source(), namespace, &parent.name);
        let objects = self.surroundings.objects;
        let (found, exists) = match (parent.group.as_str(), parent.kind.as_str()) {
            (GATEWAY_GROUP, "Gateway") => {
                self.dependencies.insert(Dependency::Gateway(place.clone()));
                let ours = self.surroundings.gateways.contains_key(&place);
                let found = ours.then(|| (place.clone(), Holder::Gateway));
                (found, objects.gateways.contains_key(&place))
            }
            (GATEWAY_GROUP, "ListenerSet") => {
                self.dependencies
                    .insert(Dependency::ListenerSet(place.clone()));
                let gateway = self.surroundings.sets.get(&place);
                let found = gateway.map(|gateway| {
                    self.dependencies
                        .insert(Dependency::Gateway(gateway.clone()));
                    (gateway.clone(), Holder::ListenerSet(place.object.clone()))
                });
                (found, objects.listener_sets.contains_key(&place))
            }
            _ => {
                let message = format!(
                    "{} {} is not supported as a parent; use a Gateway or a ListenerSet",
                    parent.kind, parent.name
                );
                findings.report(field, &codes::PARENT_KIND, &message);
                return None;
            }
        };
        if !exists {
            let message = format!(
                "{} {} does not exist; create it or correct the name",
                parent.kind, place.object
            );
            findings.report(field, &codes::PARENT_NOT_FOUND, &message);
        }
        found
    }

    /// Attaches by one parentRef; `None` if the parent is not ours.
    fn accept(
        &mut self,
        parent: &ParentReference,
        field: &str,
        visitor: &Visitor<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Condition> {
        let (place, holder) = self.find_parent(parent, field, findings)?;
        let gateway = &self.surroundings.gateways[&place];
        let taken = match attach(gateway, &holder, parent, visitor) {
            Ok(taken) => taken,
            Err(rejection) => {
                let rejected = Rejected {
                    rejection,
                    gateway,
                    holder: &holder,
                    parent,
                    visitor,
                };
                return Some(rejected.condition(&place, field, findings));
            }
        };
        let refused = self.rules.none_left;
        let pool = &gateway.pool;
        for taken in taken {
            if !refused {
                self.attached.insert((place.clone(), taken.listener));
            }
            // What a refused route asks for gets 500: a broader route must not serve it unfiltered.
            if let Some(attachment) = taken.attachment.filter(|_| !self.rules.content.is_empty()) {
                let attachments = self.attachments.entry(pool.clone()).or_default();
                attachments.insert(attachment.listener.clone(), attachment);
            }
        }
        if refused {
            let message = self.rules.unsupported.join(". ");
            return Some(Condition::no("Accepted", "UnsupportedValue", message));
        }
        Some(Condition::yes(
            "Accepted",
            "Accepted",
            "The route is accepted",
        ))
    }
}

/// A parentRef that attaches to nothing.
struct Rejected<'a> {
    rejection: Rejection,
    gateway: &'a GatewayView,
    holder: &'a Holder,
    parent: &'a ParentReference,
    visitor: &'a Visitor<'a>,
}

impl Rejected<'_> {
    fn condition(&self, gateway: &Place, field: &str, findings: &mut Findings<'_>) -> Condition {
        let name = match self.holder {
            Holder::Gateway => format!("Gateway {}", gateway.object),
            Holder::ListenerSet(set) => format!("ListenerSet {set}"),
        };
        let (reason, code, message) = match self.rejection {
            Rejection::NoMatchingParent => {
                let message = self.no_matching_parent(&name);
                ("NoMatchingParent", &codes::NO_MATCHING_PARENT, message)
            }
            Rejection::NotAllowedByListeners => {
                let message = format!(
                    "no listener of {name} allows {}s from namespace {}; see its allowedRoutes",
                    self.visitor.kind.object_kind(),
                    self.visitor.namespace
                );
                let code = &codes::NOT_ALLOWED_BY_LISTENERS;
                ("NotAllowedByListeners", code, message)
            }
            Rejection::NoMatchingListenerHostname => {
                let hosts = self
                    .listeners()
                    .map(|listener| listener.hostname.to_string());
                let hosts: BTreeSet<_> = hosts.collect();
                let hosts: Vec<_> = hosts.into_iter().collect();
                let message = format!(
                    "no hostname of the route fits a listener of {name}; they have {}",
                    hosts.join(", ")
                );
                let code = &codes::NO_MATCHING_HOSTNAME;
                ("NoMatchingListenerHostname", code, message)
            }
        };
        findings.report(field, code, &message);
        Condition::no("Accepted", reason, format!("{field}: {message}"))
    }

    fn no_matching_parent(&self, name: &str) -> String {
        if let Holder::ListenerSet(set) = self.holder {
            let mut sets = self.gateway.sets.iter();
            let refused = sets.find(|(place, _)| place.object == *set);
            if let Some((_, Some(message))) = refused {
                return format!("{name} is not accepted: {message}");
            }
        }
        let section = self.parent.section_name.as_ref();
        let section = section
            .map(|section| format!(" named {section}"))
            .unwrap_or_default();
        let port = self.parent.port;
        let port = port
            .map(|port| format!(" on port {port}"))
            .unwrap_or_default();
        let listeners = self.listeners();
        let listeners =
            listeners.map(|listener| format!("{}:{}", listener.section_name, listener.port));
        let listeners: Vec<_> = listeners.collect();
        format!(
            "{name} has no listener{section}{port}; it has {}",
            listeners.join(", ")
        )
    }

    fn listeners(&self) -> impl Iterator<Item = &ListenerView> {
        let listeners = self.gateway.listeners.iter();
        listeners.filter(|listener| listener.holder == *self.holder)
    }
}

/// The hostnames of a route; without any it serves every host.
fn hostnames(texts: &[String]) -> Vec<Hostname> {
    if texts.is_empty() {
        return vec![Hostname::Any];
    }
    let parsed = texts.iter().map(|text| Hostname::parse(text));
    parsed
        .map(|host| host.expect("the rules of the kind check it"))
        .collect()
}

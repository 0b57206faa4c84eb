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
        let namespace = Place::cluster_wide(&key.source, &key.namespace);
        let labels = namespace_labels(self.surroundings.objects, &namespace);
        self.dependencies.insert(Dependency::Namespace(namespace));
        let hostnames = hostnames(self.route.spec.hostnames);
        let visitor = Visitor {
            kind: self.route.spec.kind,
            namespace: &key.namespace,
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
                    "Dropped Rule: its requests get 500. {}",
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

    /// Attaches by one parentRef; `None` if the parent is not ours.
    fn accept(
        &mut self,
        parent: &ParentReference,
        field: &str,
        visitor: &Visitor<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Condition> {
        if (parent.group.as_str(), parent.kind.as_str()) != (GATEWAY_GROUP, "Gateway") {
            let message = format!(
                "{} {} is not supported as a parent; use a Gateway",
                parent.kind, parent.name
            );
            findings.report(field, &codes::PARENT_KIND, &message);
            return None;
        }
        let key = self.route.key;
        let namespace = parent.namespace.as_deref().unwrap_or(&key.namespace);
        let place = Place::new(&key.source, namespace, &parent.name);
        self.dependencies.insert(Dependency::Gateway(place.clone()));
        let Some(gateway) = self.surroundings.gateways.get(&place) else {
            if !self.surroundings.objects.gateways.contains_key(&place) {
                let message = format!(
                    "Gateway {} does not exist; create it or correct the name",
                    place.object
                );
                findings.report(field, &codes::PARENT_NOT_FOUND, &message);
            }
            return None;
        };
        let taken = match attach(gateway, namespace, parent, visitor) {
            Ok(taken) => taken,
            Err(rejection) => {
                return Some(rejected(
                    &rejection, gateway, parent, &place, visitor, field, findings,
                ));
            }
        };
        if self.rules.none_left {
            let message = self.rules.unsupported.join(". ");
            return Some(Condition::no("Accepted", "UnsupportedValue", message));
        }
        let pool = (self.surroundings.pool_of)(&place);
        for taken in taken {
            self.attached.insert((place.clone(), taken.section_name));
            if let Some(attachment) = taken.attachment {
                let attachments = self.attachments.entry(pool.clone()).or_default();
                attachments.insert(attachment.listener.clone(), attachment);
            }
        }
        Some(Condition::yes(
            "Accepted",
            "Accepted",
            "The route is accepted",
        ))
    }
}

fn rejected(
    rejection: &Rejection,
    gateway: &GatewayView,
    parent: &ParentReference,
    place: &Place,
    visitor: &Visitor<'_>,
    field: &str,
    findings: &mut Findings<'_>,
) -> Condition {
    let name = &place.object;
    let (reason, code, message) = match rejection {
        Rejection::NoMatchingParent => {
            let section = parent.section_name.as_ref();
            let section = section
                .map(|section| format!(" named {section}"))
                .unwrap_or_default();
            let port = parent
                .port
                .map(|port| format!(" on port {port}"))
                .unwrap_or_default();
            let listeners = gateway.listeners.iter();
            let listeners =
                listeners.map(|listener| format!("{}:{}", listener.section_name, listener.port));
            let listeners: Vec<_> = listeners.collect();
            let message = format!(
                "Gateway {name} has no listener{section}{port}; it has {}",
                listeners.join(", ")
            );
            ("NoMatchingParent", &codes::NO_MATCHING_PARENT, message)
        }
        Rejection::NotAllowedByListeners => {
            let message = format!(
                "no listener of Gateway {name} allows {}s from namespace {}; see its allowedRoutes",
                visitor.kind.object_kind(),
                visitor.namespace
            );
            (
                "NotAllowedByListeners",
                &codes::NOT_ALLOWED_BY_LISTENERS,
                message,
            )
        }
        Rejection::NoMatchingListenerHostname => {
            let listeners = gateway.listeners.iter();
            let hosts = listeners.map(|listener| listener.hostname.to_string());
            let hosts: BTreeSet<_> = hosts.collect();
            let hosts: Vec<_> = hosts.into_iter().collect();
            let message = format!(
                "no hostname of the route fits a listener of Gateway {name}; they have {}",
                hosts.join(", ")
            );
            (
                "NoMatchingListenerHostname",
                &codes::NO_MATCHING_HOSTNAME,
                message,
            )
        }
    };
    findings.report(field, code, &message);
    Condition::no("Accepted", reason, format!("{field}: {message}"))
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

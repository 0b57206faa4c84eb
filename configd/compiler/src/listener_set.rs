//! ListenerSets: which Gateway takes them in, and their status (GEP-1713).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_ir::ObjectName;

use crate::api::GATEWAY_GROUP;
use crate::api::gateway::{AllowedListeners, GatewaySpec};
use crate::api::listener_set::ListenerSetSpec;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::listener::{AllowedNamespaces, ListenerPlan};
use crate::objects::{Objects, Parsed, Place};
use crate::route::namespace_labels;
use crate::status::{Condition, ObjectStatus, conditions};

/// The ListenerSets of each Gateway, in the order in which they are taken in.
pub(crate) type SetsByGateway = BTreeMap<Place, Vec<Arc<Parsed<ListenerSetSpec>>>>;

/// A ListenerSet that names one of our Gateways.
#[derive(Debug, Clone)]
pub(crate) struct ListenerSetPlan {
    pub(crate) object: Arc<Parsed<ListenerSetSpec>>,
    /// Reason and message, if nothing of it is served.
    pub(crate) refused: Option<(&'static str, String)>,
}

/// Older ListenerSets come before newer ones, then those whose name comes first.
pub(crate) fn by_gateway(objects: &Objects) -> SetsByGateway {
    let mut sets = SetsByGateway::new();
    for set in objects.listener_sets.values() {
        let parent = &set.spec.parent_ref;
        if (parent.group.as_str(), parent.kind.as_str()) == (GATEWAY_GROUP, "Gateway") {
            sets.entry(parent_of(set)).or_default().push(set.clone());
        }
    }
    for sets in sets.values_mut() {
        sets.sort_by_key(|set| (set.created_at_unix_s, set.name()));
    }
    sets
}

/// The Gateway that a ListenerSet names.
pub(crate) fn parent_of(set: &Parsed<ListenerSetSpec>) -> Place {
    let parent = &set.spec.parent_ref;
    let namespace = parent.namespace.as_deref().unwrap_or(set.key.namespace());
    Place::new(set.key.source(), namespace, &parent.name)
}

/// Whether a Gateway takes a ListenerSet in; by default it takes none.
pub(crate) fn plan(
    objects: &Objects,
    gateway: &Parsed<GatewaySpec>,
    object: Arc<Parsed<ListenerSetSpec>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> ListenerSetPlan {
    let allowed = allowed_namespaces(gateway.spec.allowed_listeners.as_ref());
    let namespace = Place::cluster_wide(object.key.source(), object.key.namespace());
    let labels = namespace_labels(objects, &namespace);
    if allowed.allow(gateway.key.namespace(), object.key.namespace(), &labels) {
        return ListenerSetPlan {
            object,
            refused: None,
        };
    }
    let message = format!(
        "Gateway {} does not allow ListenerSets from namespace {}; see its allowedListeners",
        gateway.name(),
        object.key.namespace()
    );
    let code = &codes::SET_NOT_ALLOWED;
    diagnostics.push(Diagnostic::new(
        &object.key,
        "spec.parentRef",
        code,
        message.clone(),
    ));
    ListenerSetPlan {
        object,
        refused: Some(("NotAllowed", message)),
    }
}

fn allowed_namespaces(allowed: Option<&AllowedListeners>) -> AllowedNamespaces {
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    let from = namespaces.and_then(|namespaces| namespaces.from.as_deref());
    let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
    AllowedNamespaces::read(from, selector, AllowedNamespaces::None)
}

impl ListenerSetPlan {
    /// Takes it out of the snapshot because its Gateway is.
    pub(crate) fn refuse_with_gateway(&mut self, diagnostics: &mut Vec<Diagnostic>) {
        let message = "the Gateway is not accepted, see its conditions".to_owned();
        let code = &codes::SET_PARENT_REFUSED;
        let diagnostic = Diagnostic::new(&self.object.key, "spec.parentRef", code, message.clone());
        diagnostics.push(diagnostic);
        self.refused = Some(("ParentNotAccepted", message));
    }

    /// Name of the object.
    pub(crate) fn name(&self) -> ObjectName {
        self.object.name()
    }

    /// Whether its `Accepted` is true; `listeners` are its own.
    pub(crate) fn is_accepted(&self, listeners: &[&ListenerPlan]) -> bool {
        self.refused.is_none() && listeners.iter().any(|listener| listener.is_usable())
    }

    /// Its status; `listeners` are its own, `attached` counts the accepted routes of each listener.
    pub(crate) fn status(
        &self,
        listeners: &[&ListenerPlan],
        attached: &BTreeMap<Arc<str>, usize>,
        pool: &Arc<str>,
    ) -> ObjectStatus {
        let generation = self.object.generation;
        let accepted = self.accepted(listeners);
        let programmed = match accepted.status {
            true => Condition::yes("Programmed", "Programmed", "The ListenerSet is programmed"),
            false => Condition::no("Programmed", accepted.reason, &accepted.message),
        };
        let entries = listeners
            .iter()
            .map(|listener| listener.status(self.refused.is_none(), attached, generation));
        let entries: Vec<Value> = entries.collect();
        ObjectStatus {
            key: self.object.key.clone(),
            uid: self.object.uid.clone(),
            generation,
            pool: Some(pool.clone()),
            ports: vec![],
            parameters: None,
            status: json!({
                "conditions": conditions(&[accepted, programmed], generation),
                "listeners": entries,
            })
            .into(),
            shown: listeners
                .iter()
                .flat_map(|listener| listener.shown())
                .collect(),
        }
    }

    fn accepted(&self, listeners: &[&ListenerPlan]) -> Condition {
        if let Some((reason, message)) = &self.refused {
            return Condition::no("Accepted", reason, message);
        }
        let unsound = listeners.iter().filter(|listener| !listener.is_sound());
        let names: Vec<_> = unsound
            .map(|listener| &*listener.view.section_name)
            .collect();
        let names = names.join(", ");
        if !self.is_accepted(listeners) {
            let message = format!("No listener is valid: see the conditions of listener {names}");
            return Condition::no("Accepted", "ListenersNotValid", message);
        }
        if names.is_empty() {
            return Condition::yes("Accepted", "Accepted", "The ListenerSet is accepted");
        }
        let message =
            format!("Some listeners are not valid: see the conditions of listener {names}");
        Condition::yes("Accepted", "ListenersNotValid", message)
    }
}

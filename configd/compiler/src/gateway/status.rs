//! What a Gateway's status says: conditions, addresses, ports, and its listeners.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::GatewayPlan;
use crate::backend_object::Transport;
use crate::listener::ListenerPlan;
use crate::status::{BoundPort, Condition, ObjectStatus, conditions};

impl GatewayPlan {
    /// Its status and those of its ListenerSets; `attached` counts the accepted routes of each listener.
    pub(crate) fn statuses(&self, attached: &BTreeMap<Arc<str>, usize>) -> Vec<ObjectStatus> {
        let by_set = self.listeners_by_set();
        let (mut statuses, mut accepted_sets) = (Vec::new(), 0);
        for set in &self.sets {
            let listeners = by_set.get(&set.name()).map_or(&[][..], Vec::as_slice);
            accepted_sets += usize::from(set.is_accepted(listeners));
            statuses.push(set.status(listeners, attached, &self.pool));
        }
        statuses.push(self.status(attached, accepted_sets));
        statuses
    }

    fn status(&self, attached: &BTreeMap<Arc<str>, usize>, accepted_sets: usize) -> ObjectStatus {
        let generation = self.object.generation;
        let accepted = self.refused.is_none();
        let listeners = self.own_listeners();
        let listeners = listeners.map(|listener| listener.status(accepted, attached, generation));
        let mut status = json!({
            "conditions": conditions(&self.conditions(), generation),
            "listeners": listeners.collect::<Vec<_>>(),
        });
        if accepted && !self.addresses.bound.is_empty() {
            status["addresses"] = json!(self.addresses.bound);
        }
        if !self.sets.is_empty() {
            status["attachedListenerSets"] = json!(accepted_sets);
        }
        ObjectStatus {
            key: self.object.key.clone(),
            uid: self.object.uid.clone(),
            generation,
            pool: Some(self.pool.clone()),
            ports: self.ports(),
            parameters: self
                .is_accepted()
                .then(|| self.parameters.to_remember())
                .flatten(),
            status: status.into(),
            shown: self.own_listeners().flat_map(ListenerPlan::shown).collect(),
        }
    }

    fn ports(&self) -> Vec<BoundPort> {
        let served = self.listeners.iter().filter(|plan| plan.view.served);
        let ports = served.map(|plan| BoundPort {
            port: plan.view.port,
            is_udp: plan.transport() == Transport::Udp,
            bind_port: plan.bind_port,
        });
        let ports: BTreeSet<BoundPort> = ports.collect();
        ports.into_iter().collect()
    }

    fn conditions(&self) -> Vec<Condition> {
        let insecure = self.frontend.is_insecure().then(|| {
            let message = "Some ports let clients in without a valid certificate: tls.frontend has the mode AllowInsecureFallback";
            Condition::yes("InsecureFrontendValidationMode", "ConfigurationChanged", message)
        });
        [self.accepted(), self.programmed(), self.resolved()]
            .into_iter()
            .chain(insecure)
            .chain(self.overruled())
            .collect()
    }

    fn overruled(&self) -> Option<Condition> {
        let message = self.overruled.as_ref()?;
        let type_ = "tidegate.dev/WorkersAsAsked";
        Some(Condition::no(type_, "OlderGatewayDecides", message))
    }

    fn accepted(&self) -> Condition {
        if let Some((reason, message)) = &self.refused {
            return Condition::no("Accepted", reason, message);
        }
        let names = self.names_of(|listener| !listener.is_sound());
        if !self.is_accepted() {
            let message = format!("No listener is valid: see the conditions of {names}");
            return Condition::no("Accepted", "ListenersNotValid", message);
        }
        if let Some(problem) = &self.outdated {
            let message = format!(
                "{problem}. Until then it is served with the parameters that it had before"
            );
            return Condition::no("Accepted", "InvalidParameters", message);
        }
        if names.is_empty() {
            return Condition::yes("Accepted", "Accepted", "The Gateway is accepted");
        }
        let message = format!("Some listeners are not valid: see the conditions of {names}");
        Condition::yes("Accepted", "ListenersNotValid", message)
    }

    fn programmed(&self) -> Condition {
        if !self.is_accepted() {
            let message = "The Gateway is not accepted, see that condition";
            return Condition::no("Programmed", "Invalid", message);
        }
        if let Some(message) = &self.addresses.unusable {
            return Condition::no("Programmed", "AddressNotUsable", message);
        }
        if self.own_listeners().any(ListenerPlan::is_usable) {
            return Condition::yes("Programmed", "Programmed", "The Gateway is programmed");
        }
        let message = "No listener is programmed, see their conditions";
        Condition::no("Programmed", "Invalid", message)
    }

    fn resolved(&self) -> Condition {
        if let Some((reason, message)) = &self.client_certificate_problem {
            return Condition::no("ResolvedRefs", reason, message);
        }
        let names = self.names_of(|listener| !listener.is_resolved());
        if names.is_empty() {
            let message = "All references are resolved";
            Condition::yes("ResolvedRefs", "ResolvedRefs", message)
        } else {
            let message = format!("References are not resolved: see the conditions of {names}");
            Condition::no("ResolvedRefs", "ListenersNotResolved", message)
        }
    }

    fn names_of(&self, which: impl Fn(&ListenerPlan) -> bool) -> String {
        let listeners = self.own_listeners().filter(|listener| which(listener));
        let names: Vec<_> = listeners
            .map(|listener| &*listener.view.section_name)
            .collect();
        if names.is_empty() {
            String::new()
        } else {
            format!("listener {}", names.join(", "))
        }
    }
}

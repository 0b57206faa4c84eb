//! Listeners of one Gateway, ListenerSets included, that get in each other's way.

use super::protocol::PortClass;
use super::{Holder, ListenerPlan, Protocol, Refusal};
use crate::codes;
use crate::diagnostic::Diagnostic;

/// Refuses listeners that get in each other's way. Of the first `own` ones, which the Gateway holds
/// itself, none wins; of those of ListenerSets the first one does, after those of the Gateway.
pub(crate) fn refuse_conflicts(
    plans: &mut [ListenerPlan],
    own: usize,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut refusals: Vec<Option<Refusal>> = vec![];
    for (index, plan) in plans.iter().enumerate() {
        let rivals = plans.iter().enumerate().filter(|(other, _)| {
            let lost = refusals.get(*other).is_some_and(Option::is_some);
            *other != index
                && if index < own {
                    *other < own
                } else {
                    *other < own || (*other < index && !lost)
                }
        });
        let rivals: Vec<_> = rivals.map(|(_, rival)| rival).collect();
        refusals.push(conflict_of(plan, &rivals));
    }
    for (plan, refusal) in plans.iter_mut().zip(refusals) {
        let Some(refusal) = refusal else { continue };
        let code = &codes::LISTENER_CONFLICT;
        let message = refusal.message.clone();
        diagnostics.push(Diagnostic::new(&plan.key, &plan.field, code, message));
        plan.view.served = false;
        plan.refused = Some(refusal);
    }
}

fn conflict_of(own: &ListenerPlan, rivals: &[&ListenerPlan]) -> Option<Refusal> {
    let class = own.protocol?.port_class();
    let port = own.view.port;
    let rivals = rivals.iter().filter(|rival| rival.view.port == port);
    let rivals = rivals.filter_map(|rival| Some((*rival, rival.protocol?.port_class())));
    let rivals: Vec<_> = rivals
        .filter(|(rival, _)| rival.transport() == own.transport())
        .collect();
    let refusal = |reason, message| Refusal {
        reason,
        conflict: true,
        message,
    };
    if let Some((rival, _)) = rivals.iter().find(|(_, other)| *other != class) {
        let message = format!(
            "port {port} is also used by {} with protocol {}, which cannot share a port with {}; use another port",
            rival.described_to(own),
            rival.protocol_name,
            own.protocol_name
        );
        return Some(refusal("ProtocolConflict", message));
    }
    let hostname = &own.view.hostname;
    let (rival, _) = rivals
        .iter()
        .find(|(rival, _)| rival.view.hostname == *hostname)?;
    let rival = rival.described_to(own);
    let message = match class {
        PortClass::Tcp | PortClass::Udp => {
            format!("{rival} has the same port {port}; give one of them another one")
        }
        PortClass::Http | PortClass::Tls => format!(
            "{rival} has the same port {port} and hostname {hostname}; give one of them another hostname or port"
        ),
    };
    Some(refusal("HostnameConflict", message))
}

impl ListenerPlan {
    fn is_https(&self) -> bool {
        self.protocol == Some(Protocol::Https)
    }

    /// Names it for another one; what ListenerSets of others hold is not named.
    fn described_to(&self, other: &Self) -> String {
        match &self.view.holder {
            holder if *holder == other.view.holder => {
                format!("listener {}", self.view.section_name)
            }
            Holder::Gateway => "a listener of the Gateway".to_owned(),
            Holder::ListenerSet(_) => "a listener of an older ListenerSet".to_owned(),
        }
    }
}

/// HTTPS listeners on one port whose hostnames overlap say so (GEP-3567).
pub(crate) fn note_overlaps(plans: &mut [ListenerPlan], diagnostics: &mut Vec<Diagnostic>) {
    for index in 0..plans.len() {
        let own = &plans[index];
        if !own.is_https() || !own.view.served {
            continue;
        }
        let overlapping = plans.iter().enumerate().find(|(other, plan)| {
            *other != index
                && plan.is_https()
                && plan.view.served
                && plan.view.port == own.view.port
                && plan.view.hostname.intersect(&own.view.hostname).is_some()
        });
        let Some((_, other)) = overlapping else {
            continue;
        };
        let message = format!(
            "hostname {} overlaps with {} of {} on port {}",
            own.view.hostname,
            other.view.hostname,
            other.described_to(own),
            own.view.port
        );
        let field = format!("{}.hostname", own.field);
        let code = &codes::LISTENER_HOST_OVERLAP;
        diagnostics.push(Diagnostic::new(&own.key, field, code, message.clone()));
        plans[index].overlap = Some(message);
    }
}

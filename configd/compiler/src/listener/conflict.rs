//! Listeners of one Gateway that get in each other's way.

use super::{ListenerPlan, Refusal};
use crate::api::gateway::{self as api, GatewaySpec};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::objects::Parsed;

/// Which listeners can share a port; those of different classes cannot.
fn port_class(protocol: &str) -> Option<&'static str> {
    match protocol {
        "HTTP" => Some("HTTP"),
        "HTTPS" | "TLS" => Some("TLS"),
        "TCP" => Some("TCP"),
        "UDP" => Some("UDP"),
        _ => None,
    }
}

/// Inside one Gateway no listener wins: all that cannot be told apart are refused.
pub(super) fn refuse_conflicts(
    gateway: &Parsed<GatewaySpec>,
    plans: &mut [ListenerPlan],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let listeners = &gateway.spec.listeners;
    for index in 0..listeners.len() {
        let Some(refusal) = conflict_of(listeners, plans, index) else {
            continue;
        };
        let code = &codes::LISTENER_CONFLICT;
        let field = format!("spec.listeners[{index}]");
        diagnostics.push(Diagnostic::new(
            &gateway.key,
            field,
            code,
            refusal.message.clone(),
        ));
        plans[index].view.served = false;
        plans[index].refused = Some(refusal);
    }
}

fn conflict_of(
    listeners: &[api::Listener],
    plans: &[ListenerPlan],
    index: usize,
) -> Option<Refusal> {
    let own = &listeners[index];
    let class = port_class(&own.protocol)?;
    let others = listeners.iter().enumerate();
    let others = others.filter(|(other, listener)| *other != index && listener.port == own.port);
    let others = others
        .filter_map(|(other, listener)| Some((other, listener, port_class(&listener.protocol)?)));
    let others: Vec<_> = others
        .filter(|(.., other)| (class == "UDP") == (*other == "UDP"))
        .collect();
    if let Some((_, other, _)) = others.iter().find(|(.., other)| *other != class) {
        let message = format!(
            "port {} is also used by listener {} with protocol {}, which cannot share a port with {}; use another port",
            own.port, other.name, other.protocol, own.protocol
        );
        return Some(Refusal {
            reason: "ProtocolConflict",
            conflict: true,
            message,
        });
    }
    let hostname = &plans[index].view.hostname;
    let same_host = |other: &usize| plans[*other].view.hostname == *hostname;
    let (_, other, _) = others.iter().find(|(other, ..)| same_host(other))?;
    let message = format!(
        "listener {} has the same port {} and hostname {hostname}; give one of them another hostname or port",
        other.name, own.port
    );
    Some(Refusal {
        reason: "HostnameConflict",
        conflict: true,
        message,
    })
}

/// HTTPS listeners on one port whose hostnames overlap say so (GEP-3567).
pub(super) fn note_overlaps(
    gateway: &Parsed<GatewaySpec>,
    plans: &mut [ListenerPlan],
    diagnostics: &mut Vec<Diagnostic>,
) {
    for index in 0..plans.len() {
        let own = &plans[index];
        if !own.https || !own.view.served {
            continue;
        }
        let overlapping = plans.iter().enumerate().find(|(other, plan)| {
            *other != index
                && plan.https
                && plan.view.served
                && plan.view.port == own.view.port
                && plan.view.hostname.intersect(&own.view.hostname).is_some()
        });
        let Some((_, other)) = overlapping else {
            continue;
        };
        let message = format!(
            "hostname {} overlaps with {} of listener {} on port {}",
            own.view.hostname, other.view.hostname, other.view.section_name, own.view.port
        );
        let field = format!("spec.listeners[{index}].hostname");
        let code = &codes::LISTENER_HOST_OVERLAP;
        diagnostics.push(Diagnostic::new(&gateway.key, field, code, message.clone()));
        plans[index].overlap = Some(message);
    }
}

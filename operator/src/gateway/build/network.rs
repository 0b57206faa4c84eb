//! What leads clients to the workers.

use serde_json::{Value, json};

use super::{Front, Pool, Transport, pod, without_nulls};
use crate::gateway::memory::LAST_PARAMETERS;
use crate::gateway::patch;

/// The Service in front of the workers.
pub(super) fn service(front: &Front) -> Option<Value> {
    if front.ports.is_empty() {
        return None;
    }
    let wanted = &front.parameters.service;
    let kind = wanted.type_.as_deref().unwrap_or("LoadBalancer");
    let is_balanced = kind == "LoadBalancer";
    let ports = front.ports.iter().map(|((port, transport), target)| {
        let (name, protocol) = (port_name(*port, *transport), transport.name());
        json!({"name": name, "port": port, "targetPort": target, "protocol": protocol})
    });
    let ranges = &wanted.load_balancer_source_ranges;
    let mut metadata = front.metadata.json();
    let mut annotations = wanted.annotations.clone();
    if let Some(last) = &front.last_parameters {
        annotations.insert(LAST_PARAMETERS.to_owned(), last.clone());
    }
    if !annotations.is_empty() {
        patch::merge(&mut metadata, &json!({"annotations": annotations}));
    }
    Some(without_nulls(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": kind,
            "selector": front.pods,
            "ports": ports.collect::<Vec<_>>(),
            "externalTrafficPolicy": wanted.external_traffic_policy,
            "loadBalancerClass": wanted.load_balancer_class.as_ref().filter(|_| is_balanced),
            "loadBalancerSourceRanges": Some(ranges).filter(|ranges| is_balanced && !ranges.is_empty()),
            // Deprecated, and still what most controllers for load balancers read.
            "loadBalancerIP": front.asked_address.as_ref().filter(|_| is_balanced),
        },
    })))
}

/// Lets in clients of the listeners, and those who read metrics; workers may reach any backend.
pub(super) fn policy(pool: &Pool) -> Option<Value> {
    if pool.parameters.network_policy == Some(false) {
        return None;
    }
    let admin = (pod::ADMIN_PORT, Transport::Tcp);
    let ports = pool.ports.iter().chain([&admin]);
    let ports = ports.map(|(port, transport)| json!({"port": port, "protocol": transport.name()}));
    Some(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": pool.metadata.json(),
        "spec": {
            "podSelector": {"matchLabels": pool.metadata.selector},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": ports.collect::<Vec<_>>()}],
        },
    }))
}

fn port_name(port: u16, transport: Transport) -> String {
    match transport {
        Transport::Tcp => format!("tcp-{port}"),
        Transport::Udp => format!("udp-{port}"),
    }
}

//! Gateways that want the same name or port in one pool: the older one gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_ir::ObjectName;

use crate::backend_object::Transport;
use crate::compile::Pooling;
use crate::gateway::GatewayPlan;
use crate::objects::Place;

/// A port of TCP or UDP.
type Port = (Transport, u16);

/// Gives names and ports to the older of two Gateways of one pool.
pub(crate) fn settle(plans: &mut BTreeMap<Place, GatewayPlan>, pooling: &Pooling) {
    let mut order: Vec<(i64, ObjectName, Arc<str>)> = plans
        .iter()
        .map(|(place, plan)| {
            let created = plan.object.created_at_unix_s;
            (created, place.object.clone(), place.source.clone())
        })
        .collect();
    order.sort();
    let mut names: BTreeMap<ObjectName, Arc<str>> = BTreeMap::new();
    let mut taken: BTreeSet<Port> = BTreeSet::new();
    for (_, object, source) in order {
        let place = Place { source, object };
        let plan = plans.get_mut(&place).expect("the order lists the plans");
        if let Some(other) = names.get(&place.object) {
            plan.refuse_as_clashing(other);
            continue;
        }
        names.insert(place.object.clone(), place.source.clone());
        if matches!(pooling, Pooling::Single { .. }) {
            allot_ports(plan, &mut taken);
        }
    }
}

/// A port that an older Gateway has is moved by the least multiple of 10,000 that leads to a free one.
fn allot_ports(plan: &mut GatewayPlan, taken: &mut BTreeSet<Port>) {
    let mut own: BTreeMap<Port, u16> = BTreeMap::new();
    for listener in &mut plan.listeners {
        let port = (listener.transport(), listener.view.port);
        if !listener.view.served {
            continue;
        }
        let bind_port = own
            .get(&port)
            .copied()
            .unwrap_or_else(|| free_port(port, taken));
        own.insert(port, bind_port);
        taken.insert((port.0, bind_port));
        listener.bind_port = bind_port;
    }
    for ((_, port), bind_port) in &own {
        if port != bind_port {
            plan.note_moved_port(*port, *bind_port);
        }
    }
}

/// The port itself, or the first free one in steps of 10,000.
fn free_port((transport, port): Port, taken: &BTreeSet<Port>) -> u16 {
    // 10,000 and 65,536 share the factor 16, so the steps return to the start after 4,096 of them.
    let candidates = (0..4_096).filter_map(|step| {
        let moved = (u32::from(port) + 10_000 * step) % 65_536;
        u16::try_from(moved).ok().filter(|port| *port > 0)
    });
    let mut free = candidates.filter(|port| !taken.contains(&(transport, *port)));
    free.next().unwrap_or(port)
}

//! Gateways that want the same name, workers or port in one pool: the older one gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_ir::ObjectName;

use crate::backend_object::Transport;
use crate::compile::Pooling;
use crate::gateway::GatewayPlan;
use crate::objects::Place;
use crate::parameters::Parameters;

/// A port of TCP or UDP.
type Port = (Transport, u16);

/// Where ports of Gateways that share workers go: below those that systems take for outgoing connections, and clear
/// of the worker's own.
const SHARED_PORTS: std::ops::Range<u16> = 10_000..32_000;

/// Gives names, workers and ports to the older of two Gateways of one pool.
pub(crate) fn settle(plans: &mut BTreeMap<Place, GatewayPlan>, pooling: &Pooling) {
    let mut order: Vec<(i64, ObjectName, Arc<str>)> = plans
        .iter()
        .map(|(place, plan)| {
            let created = plan.object.created_at_unix_s;
            (created, place.object.clone(), place.source.clone())
        })
        .collect();
    order.sort();
    let is_single = matches!(pooling, Pooling::Single { .. });
    let mut claims: BTreeMap<(Arc<str>, Option<ObjectName>), Arc<str>> = BTreeMap::new();
    let mut pools: BTreeMap<Arc<str>, SharedPool> = BTreeMap::new();
    for (_, object, source) in order {
        let place = Place { source, object };
        let plan = plans.get_mut(&place).expect("the order lists the plans");
        // A pool of a cluster is one source's, a single one takes every name once.
        let claim = (plan.pool.clone(), is_single.then(|| place.object.clone()));
        let owner = claims.entry(claim).or_insert_with(|| place.source.clone());
        if *owner != place.source {
            plan.refuse_as_clashing(owner);
            continue;
        }
        let pool = pools.entry(plan.pool.clone()).or_default();
        if is_single {
            pool.allot_ports(plan);
        } else if plan.is_shared && plan.is_accepted() {
            pool.spread_ports(plan);
            match &pool.oldest {
                None => pool.oldest = Some((place.object, plan.parameters.clone())),
                Some((name, asked)) if !asked.agree_on_workers(&plan.parameters) => {
                    plan.note_overruled(name);
                }
                Some(_) => {}
            }
        }
    }
}

/// What Gateways of one pool have taken.
#[derive(Default)]
struct SharedPool {
    /// Whose word on the workers counts.
    oldest: Option<(ObjectName, Parameters)>,
    taken: BTreeSet<Port>,
}

impl SharedPool {
    /// A port that an older Gateway has is moved by the least multiple of 10,000 that leads to a free one.
    fn allot_ports(&mut self, plan: &mut GatewayPlan) {
        let own = self.allot(plan, moved_port);
        for ((_, port), bind_port) in &own {
            if port != bind_port {
                plan.note_moved_port(*port, *bind_port);
            }
        }
    }

    /// Behind Services any port will do: one that follows from the Gateway's name stays when another Gateway goes.
    fn spread_ports(&mut self, plan: &mut GatewayPlan) {
        let name = plan.object.name();
        self.allot(plan, |port, taken| spread_port(&name, port, taken));
    }

    fn allot(
        &mut self,
        plan: &mut GatewayPlan,
        choose: impl Fn(Port, &BTreeSet<Port>) -> u16,
    ) -> BTreeMap<Port, u16> {
        let mut own: BTreeMap<Port, u16> = BTreeMap::new();
        for listener in &mut plan.listeners {
            let port = (listener.transport(), listener.view.port);
            if !listener.view.served {
                continue;
            }
            let known = own.get(&port).copied();
            let bind_port = known.unwrap_or_else(|| choose(port, &self.taken));
            own.insert(port, bind_port);
            self.taken.insert((port.0, bind_port));
            listener.bind_port = bind_port;
        }
        own
    }
}

/// The port itself, or the first free one in steps of 10,000.
fn moved_port((transport, port): Port, taken: &BTreeSet<Port>) -> u16 {
    // 10,000 and 65,536 share the factor 16, so the steps return to the start after 4,096 of them.
    let candidates = (0..4_096).filter_map(|step| {
        let moved = (u32::from(port) + 10_000 * step) % 65_536;
        u16::try_from(moved).ok().filter(|port| *port > 0)
    });
    let mut free = candidates.filter(|port| !taken.contains(&(transport, *port)));
    free.next().unwrap_or(port)
}

/// The port that a hash of Gateway and port names, or the first free one after it.
fn spread_port(gateway: &ObjectName, (transport, port): Port, taken: &BTreeSet<Port>) -> u16 {
    let text = format!("{gateway} {} {port}", transport.name());
    let count = u64::from(SHARED_PORTS.end - SHARED_PORTS.start);
    let first = u16::try_from(fnv1a(text.as_bytes()) % count).unwrap_or(0);
    let (before, after) = (
        SHARED_PORTS.start..SHARED_PORTS.start + first,
        SHARED_PORTS.start + first..SHARED_PORTS.end,
    );
    let mut free = after
        .chain(before)
        .filter(|port| !taken.contains(&(transport, *port)));
    free.next().unwrap_or(port)
}

/// FNV-1a: it is the same in every build, which a snapshot needs.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

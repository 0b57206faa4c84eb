//! Workers that several Gateways of one class and namespace share; which of them do, configd says.

use std::collections::BTreeMap;

use tidegate_proto::statuses::v1::BoundPort;

use super::{Found, Named, Parts, Surroundings, asked_address, is_shared};
use crate::gateway::build::metadata::of_shared_pool;
use crate::gateway::build::{Front, Metadata, Port, Transport};
use crate::gateway::names;
use crate::key::ObjectKey;
use crate::kinds::{GATEWAY_GROUP, OWN_GROUP};
use crate::statuses::Served;

/// A Gateway that shares workers.
struct Member {
    named: Named,
    served: Served,
    is_accepted: bool,
}

/// Names the shared workers of a class in a namespace. It is no object of the cluster, and is worked on like one.
pub(in crate::gateway) fn key(namespace: &str, class: &str) -> ObjectKey {
    ObjectKey::new(OWN_GROUP, "SharedPool", namespace, class)
}

/// Whether a key names shared workers.
pub(in crate::gateway) fn is_key(key: &ObjectKey) -> bool {
    key.is(OWN_GROUP, "SharedPool")
}

/// Looks everything up that shared workers need. They are not ours any more when no Gateway has them.
pub(in crate::gateway) fn dereference(around: Surroundings<'_>, pool: &ObjectKey) -> Found {
    let mut members = vec![];
    for gateway in around.gateways_of(pool) {
        // What cannot be read now is told of the Gateway itself.
        let Ok(Some(named)) = around.named(&gateway) else {
            continue;
        };
        let had_them = around.has_shared_front(&named);
        let Some(served) = around.served(&gateway) else {
            if had_them {
                return Found::NotYet;
            }
            continue;
        };
        let is_accepted = around.is_served(&gateway);
        if is_shared(&gateway, &served) && (is_accepted || had_them) {
            members.push(Member {
                named,
                served,
                is_accepted,
            });
        }
    }
    if members.is_empty() {
        return Found::NotOurs;
    }
    match around.workers(pool, &members) {
        Ok(parts) => Found::Parts(Box::new(parts)),
        Err(broken) => Found::Broken(broken),
    }
}

impl Surroundings<'_> {
    /// The Gateways of a class in a namespace, ours or not.
    pub(in crate::gateway) fn gateways_of(&self, pool: &ObjectKey) -> Vec<ObjectKey> {
        let gateways = self.mirror.objects.of_kind(GATEWAY_GROUP, "Gateway");
        let own = gateways.into_iter().filter(|(key, gateway)| {
            key.namespace == pool.namespace
                && gateway.whole["spec"]["gatewayClassName"] == *pool.name
        });
        own.map(|(key, _)| key).collect()
    }

    fn workers(&self, pool: &ObjectKey, members: &[Member]) -> Result<Parts, String> {
        let age = |member: &&Member| {
            let gateway = &member.named.gateway;
            let name = member.named.key.name.clone();
            // The oldest that is served, as configd counts it; who is not, says nothing while others are.
            (!member.is_accepted, gateway.created_at_unix_s, name)
        };
        let oldest = members.iter().min_by_key(age);
        let oldest = oldest.ok_or("no Gateway has these workers")?;
        let metadata = Metadata {
            namespace: pool.namespace.to_string(),
            name: names::of_shared_pool(&pool.name),
            class: pool.name.to_string(),
            owners: members.iter().map(|member| member.named.owner()).collect(),
            selector: of_shared_pool(&pool.name),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        };
        let bound = members.iter().flat_map(|member| &member.served.ports);
        let ports = bound
            .filter_map(port)
            .map(|((_, transport), bound)| (bound, transport));
        let secret = ObjectKey::new("", "Secret", &pool.namespace, &metadata.name);
        let secret = self.mirror.objects.get(&secret);
        let id = oldest.served.pool.clone();
        let parameters = oldest.named.parameters()?;
        let pool = self.pool(metadata, id, ports.collect(), parameters, secret.as_deref())?;
        Ok(Parts {
            pool: Some(pool),
            front: None,
        })
    }

    /// The Service of a Gateway that shares workers: its own address, and the ports that it says.
    pub(super) fn shared_front(&self, named: &Named, served: &Served) -> Result<Parts, String> {
        let front = Front {
            metadata: named.metadata(),
            pods: of_shared_pool(&named.class),
            ports: served.ports.iter().filter_map(port).collect(),
            asked_address: asked_address(named.spec()),
            last_parameters: self.last_parameters(&named.key, &named.gateway),
            parameters: named.parameters()?,
        };
        Ok(Parts {
            pool: None,
            front: Some(front),
        })
    }
}

/// A port and where it is bound, as configd says it.
fn port(bound: &BoundPort) -> Option<(Port, u16)> {
    let transport = match bound.is_udp {
        true => Transport::Udp,
        false => Transport::Tcp,
    };
    let port = u16::try_from(bound.port).ok()?;
    Some(((port, transport), u16::try_from(bound.bind_port).ok()?))
}

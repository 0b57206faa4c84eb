//! Policies on backends: which one is in force for a port, what it asks for, and its status.

pub(crate) mod balancing;
pub(crate) mod outcome;
mod status;
pub(crate) mod tls;
pub(crate) mod traffic;

use std::sync::Arc;

use crate::api::meta::PolicyTargetReference;
use crate::api::{EXPERIMENTAL_GROUP, GATEWAY_GROUP, OWN_GROUP};
use crate::backend_object::{BackendObject, BackendPort};
use crate::objects::{ObjectKey, Objects, Place};

/// A kind of policy on backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PolicyKind {
    /// BackendTLSPolicy.
    Tls,
    /// XBackendTrafficPolicy.
    Traffic,
    /// BackendPolicy, our own.
    Balancing,
}

/// Names a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PolicyKey {
    pub(crate) kind: PolicyKind,
    pub(crate) place: Place,
}

/// What all kinds of policies have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PolicyHead<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) uid: &'a str,
    pub(crate) generation: i64,
    created_at_unix_s: i64,
    pub(crate) targets: &'a [PolicyTargetReference],
}

impl PolicyKey {
    /// `None` if the object is no policy on backends.
    pub(crate) fn of(key: &ObjectKey) -> Option<Self> {
        let kind = match (&**key.group(), &**key.kind()) {
            (GATEWAY_GROUP, "BackendTLSPolicy") => PolicyKind::Tls,
            (EXPERIMENTAL_GROUP, "XBackendTrafficPolicy") => PolicyKind::Traffic,
            (OWN_GROUP, "BackendPolicy") => PolicyKind::Balancing,
            _ => return None,
        };
        let place = Place::of(key);
        Some(Self { kind, place })
    }
}

impl PolicyHead<'_> {
    /// The objects that the policy is for, with the index of each reference.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (usize, BackendObject)> {
        let targets = self.targets.iter().enumerate();
        targets.filter_map(|(index, target)| Some((index, self.object(target)?)))
    }

    pub(crate) fn object(&self, target: &PolicyTargetReference) -> Option<BackendObject> {
        let place = Place::new(self.key.source(), self.key.namespace(), &target.name);
        BackendObject::named(&target.group, &target.kind, place)
    }

    /// Whether it is for that section of the object; `None` means the whole object.
    fn is_for(&self, object: &BackendObject, section: Option<&str>) -> bool {
        self.objects()
            .any(|(index, own)| own == *object && section_of(&self.targets[index]) == section)
    }
}

/// The port that a reference is limited to.
pub(crate) fn section_of(target: &PolicyTargetReference) -> Option<&str> {
    let section = target.section_name.as_deref();
    section.filter(|section| !section.is_empty())
}

/// The policy of a kind that wins a section of an object: the oldest, then the first by name (GEP-713).
pub(crate) fn winner<'a>(
    objects: &'a Objects,
    kind: PolicyKind,
    object: &BackendObject,
    section: Option<&str>,
) -> Option<PolicyHead<'a>> {
    // An XBackend has TLS of its own: GEP-4894 forbids such policies on it.
    if kind == PolicyKind::Tls && object.kind == tidegate_ir::BackendKind::XBackend {
        return None;
    }
    let policies = objects.policies_by_target.get(object).into_iter().flatten();
    let policies = policies.filter(|policy| policy.kind == kind);
    let heads = policies.filter_map(|policy| objects.policy(policy));
    let heads = heads.filter(|head| head.is_for(object, section));
    heads.min_by_key(|head| (head.created_at_unix_s, head.key))
}

/// The policy of a kind that is in force for a port: one for that port by name, else one for the whole object.
pub(crate) fn in_force<'a>(
    objects: &'a Objects,
    kind: PolicyKind,
    port: &BackendPort,
) -> Option<Place> {
    let object = &port.object;
    let ports = object.ports(objects);
    let name = ports.and_then(|ports| ports.port_name(port.port, port.traffic.transport()));
    let name = name.filter(|name| !name.is_empty());
    let special = name.and_then(|name| winner(objects, kind, object, Some(name)));
    let head: PolicyHead<'a> = special.or_else(|| winner(objects, kind, object, None))?;
    Some(Place::of(head.key))
}

impl Objects {
    pub(crate) fn policy(&self, policy: &PolicyKey) -> Option<PolicyHead<'_>> {
        macro_rules! head {
            ($table:ident) => {{
                let object: &Arc<_> = self.$table.get(&policy.place)?;
                Some(PolicyHead {
                    key: &object.key,
                    uid: &object.uid,
                    generation: object.generation,
                    created_at_unix_s: object.created_at_unix_s,
                    targets: &object.spec.target_refs,
                })
            }};
        }
        match policy.kind {
            PolicyKind::Tls => head!(backend_tls_policies),
            PolicyKind::Traffic => head!(traffic_policies),
            PolicyKind::Balancing => head!(backend_policies),
        }
    }
}

//! From parentRefs to listeners.

use std::collections::BTreeMap;

use tidegate_ir::{Attachment, HostClaim, Hostname, PartName};

use super::RouteKind;
use crate::api::meta::ParentReference;
use crate::gateway::GatewayView;
use crate::listener::{Holder, ListenerView};
use crate::objects::{Objects, Place};

/// The route as listeners see it.
#[derive(Debug)]
pub(crate) struct Visitor<'a> {
    pub(crate) kind: RouteKind,
    pub(crate) namespace: &'a str,
    pub(crate) namespace_labels: &'a BTreeMap<String, String>,
    /// At least one.
    pub(crate) hostnames: &'a [Hostname],
}

/// Why no listener takes a route.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    NoMatchingParent,
    NotAllowedByListeners,
    NoMatchingListenerHostname,
}

/// A listener that takes a route.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Name of its part.
    pub(crate) listener: PartName,
    /// `None` if the listener itself is not served.
    pub(crate) attachment: Option<Attachment>,
}

/// The listeners of `holder`, a Gateway or one of its ListenerSets, that take a route by one of its parentRefs.
pub(crate) fn attach(
    gateway: &GatewayView,
    holder: &Holder,
    parent: &ParentReference,
    route: &Visitor<'_>,
) -> Result<Vec<Taken>, Rejection> {
    let named = gateway
        .listeners
        .iter()
        .filter(|listener| listener.holder == *holder && is_named(listener, parent));
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        return Err(Rejection::NoMatchingParent);
    }
    let labels = route.namespace_labels;
    let allowed = named.into_iter().filter(|listener| {
        let from = &listener.from;
        listener.kinds.contains(&route.kind)
            && from.allow(&listener.namespace, route.namespace, labels)
    });
    let allowed: Vec<_> = allowed.collect();
    if allowed.is_empty() {
        return Err(Rejection::NotAllowedByListeners);
    }
    let taken = allowed.into_iter().filter_map(|listener| {
        let hosts = claims(&listener.hostname, route.hostnames);
        if hosts.is_empty() {
            return None;
        }
        let attachment = || Attachment {
            listener: listener.part_name.clone(),
            hosts,
        };
        Some(Taken {
            listener: listener.part_name.clone(),
            attachment: listener.served.then(attachment),
        })
    });
    let taken: Vec<_> = taken.collect();
    if taken.is_empty() {
        return Err(Rejection::NoMatchingListenerHostname);
    }
    Ok(taken)
}

fn is_named(listener: &ListenerView, parent: &ParentReference) -> bool {
    let section = parent.section_name.as_deref();
    section.is_none_or(|section| section == &*listener.section_name)
        && parent.port.is_none_or(|port| port == listener.port)
}

/// The hosts that a route serves on a listener: for equal intersections the most specific claim.
fn claims(listener: &Hostname, hostnames: &[Hostname]) -> Vec<HostClaim> {
    let mut claims: BTreeMap<Hostname, Hostname> = BTreeMap::new();
    for claimed in hostnames {
        let Some(host) = listener.intersect(claimed) else {
            continue;
        };
        let best = claims.entry(host).or_insert_with(|| claimed.clone());
        if claimed.cmp_specificity(best).is_gt() {
            *best = claimed.clone();
        }
    }
    let claims = claims.into_iter();
    claims
        .map(|(host, claimed)| HostClaim { host, claimed })
        .collect()
}

/// The labels of a namespace; Kubernetes gives each its name as one, so files need not.
pub(crate) fn namespace_labels(objects: &Objects, place: &Place) -> BTreeMap<String, String> {
    let mut labels = objects
        .namespaces
        .get(place)
        .map(|namespace| namespace.spec.metadata.labels.clone())
        .unwrap_or_default();
    let name = place.object.name.to_string();
    labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    labels
}

//! One route, with its references, hostnames and defaults resolved.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    Filter, Hostname, Match, ObjectName, PartKey, PartKind, PartName, Redirect, Retry,
    SessionPersistence, Words,
};

/// One route object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Which kind of object it comes from.
    pub kind: RouteKind,
    /// The object.
    pub object: ObjectName,
    /// Creation time in seconds since 1970-01-01 UTC.
    pub created_at_unix_s: i64,
    /// The listeners that serve it.
    pub attachments: Vec<Attachment>,
    /// In the order of the object.
    pub rules: Vec<Rule>,
}

/// Kind of a route object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum RouteKind {
    /// HTTPRoute.
    Http,
    /// GRPCRoute.
    Grpc,
}

/// Which of two equally specific routes wins: the smaller one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteOrder {
    created_at_unix_s: i64,
    object: ObjectName,
    /// `None` for layer 4, where the routes of a listener are of one kind.
    kind: Option<RouteKind>,
}

/// Says that a listener serves a route, and for which hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// Name of a [`crate::Listener`] part.
    pub listener: PartName,
    /// At least one.
    pub hosts: Vec<HostClaim>,
}

/// A host that a route serves on a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostClaim {
    /// Intersection of the route's and the listener's hostname.
    pub host: Hostname,
    /// The route's own hostname: the more specific one wins where two routes share an intersection.
    pub claimed: Hostname,
}

/// One rule: any of the matches, then the filters in order, then the action. What few rules have lies apart from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Name that the user gave the rule.
    pub name: Option<Arc<str>>,
    /// At least one.
    pub matches: Vec<Match>,
    /// Applied in this order.
    pub filters: Vec<Filter>,
    /// What happens to the request in the end.
    pub action: Action,
    /// Bounds on how long that may take.
    pub timeouts: Timeouts,
    /// What is tried again; `None` means only connections that failed.
    pub retry: Option<Arc<Retry>>,
    /// Keeps a client at one endpoint; goes before the backend's own.
    pub session: Option<Arc<SessionPersistence>>,
}

/// What happens to a request in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Send it to one of the backends, by weight; at least one, with a sum of weights above 0.
    Forward(Vec<WeightedBackend>),
    /// Answer with a redirect.
    Redirect(Arc<Redirect>),
    /// Answer 500; holds one sentence with the reason.
    Fault(Arc<str>),
}

/// One choice of a forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeightedBackend {
    /// Share of the sum of weights, 0 to 1,000,000.
    pub weight: u32,
    /// Where the share goes.
    pub target: Target,
    /// Applied after the rule's filters when this choice is made.
    pub filters: Vec<Filter>,
}

/// Where a share of the requests goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Target {
    /// To the [`crate::Backend`] part with that name.
    Backend(PartName),
    /// Nowhere, they get 500; holds one sentence with the reason.
    Fault(Arc<str>),
}

/// Bounds on how long a request may take (GEP-1742).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// The whole request including retries, in milliseconds; at least 1.
    pub request_ms: Option<u64>,
    /// One attempt at a backend, in milliseconds; at least 1.
    pub backend_request_ms: Option<u64>,
}

impl Route {
    /// Name of the part: kind, namespace and name, joined by `/`.
    pub fn part_name(&self) -> PartName {
        format!("{}/{}", self.kind.object_kind(), self.object).into()
    }

    /// Which of two equally specific routes wins: the older one, then the one that comes first by name.
    pub fn order(&self) -> RouteOrder {
        RouteOrder {
            created_at_unix_s: self.created_at_unix_s,
            object: self.object.clone(),
            kind: Some(self.kind),
        }
    }
}

impl RouteOrder {
    pub(crate) fn of_l4(created_at_unix_s: i64, object: ObjectName) -> Self {
        Self {
            created_at_unix_s,
            object,
            kind: None,
        }
    }
}

impl RouteKind {
    /// The `kind` of the Kubernetes object.
    pub fn object_kind(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
        }
    }
}

impl HostClaim {
    /// A claim whose intersection is the route's own hostname.
    pub fn own(host: Hostname) -> Self {
        Self {
            claimed: host.clone(),
            host,
        }
    }
}

impl Route {
    /// Takes the words that routes have in common from those that were seen.
    pub(crate) fn share_words(&mut self, words: &mut Words) {
        words.share(&mut self.object.namespace);
        for attachment in &mut self.attachments {
            words.share(&mut attachment.listener);
            for claim in &mut attachment.hosts {
                words.share_hostname(&mut claim.host);
                words.share_hostname(&mut claim.claimed);
            }
        }
        for rule in &mut self.rules {
            if let Action::Forward(choices) = &mut rule.action {
                for choice in choices {
                    let (Target::Backend(name) | Target::Fault(name)) = &mut choice.target;
                    words.share(name);
                }
            }
        }
    }

    pub(crate) fn references(&self) -> Vec<PartKey> {
        let listeners = self
            .attachments
            .iter()
            .map(|attachment| PartKey::new(PartKind::Listener, attachment.listener.clone()));
        let backends = self.rules.iter().flat_map(Rule::backends);
        let backends = backends.map(|name| PartKey::new(PartKind::Backend, name.clone()));
        listeners.chain(backends).collect()
    }
}

impl Rule {
    /// Names of the backends that requests or copies of requests can go to.
    pub fn backends(&self) -> impl Iterator<Item = &PartName> {
        let choices = match &self.action {
            Action::Forward(choices) => choices.as_slice(),
            Action::Redirect(_) | Action::Fault(_) => &[],
        };
        let targets = choices.iter().filter_map(|choice| match &choice.target {
            Target::Backend(name) => Some(name),
            Target::Fault(_) => None,
        });
        let filters = self
            .filters
            .iter()
            .chain(choices.iter().flat_map(|choice| &choice.filters));
        targets.chain(filters.filter_map(Filter::backend))
    }
}

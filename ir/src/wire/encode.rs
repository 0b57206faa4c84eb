//! From the model to the wire's messages.

use std::sync::Arc;

use tidegate_proto::ir::v1 as proto;

use crate::{
    Action, Attachment, Backend, BackendProtocol, Certificate, EndpointSet, Filter, HeaderEdits,
    HostClaim, Hostname, Listener, ListenerProtocol, Match, Mirror, PartName, PathEdit, PathMatch,
    PrivateKey, Redirect, Rewrite, Route, RouteKind, Rule, StringMatch, Target, ValueMatch,
    WeightedBackend,
};

fn host(hostname: &Hostname) -> String {
    match hostname {
        Hostname::Any => String::new(),
        Hostname::Wildcard(_) | Hostname::Exact(_) => hostname.to_string(),
    }
}

fn optional(text: Option<&Arc<str>>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

fn names(names: &[PartName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn each<'a, A: 'a, B: From<&'a A>>(items: &'a [A]) -> Vec<B> {
    items.iter().map(B::from).collect()
}

impl From<&Listener> for proto::Listener {
    fn from(listener: &Listener) -> Self {
        let (protocol, certificates) = match &listener.protocol {
            ListenerProtocol::Http => (proto::ListenerProtocol::Http, vec![]),
            ListenerProtocol::Https { certificates } => {
                (proto::ListenerProtocol::Https, names(certificates))
            }
        };
        Self {
            name: listener.name.to_string(),
            gateway_namespace: listener.gateway.namespace.to_string(),
            gateway_name: listener.gateway.name.to_string(),
            section_name: listener.section_name.to_string(),
            port: listener.port.into(),
            bind_port: listener.bind_port.into(),
            protocol: protocol.into(),
            hostname: host(&listener.hostname),
            certificates,
        }
    }
}

impl From<&Route> for proto::Route {
    fn from(route: &Route) -> Self {
        let kind = match route.kind {
            RouteKind::Http => proto::RouteKind::Http,
        };
        Self {
            kind: kind.into(),
            namespace: route.object.namespace.to_string(),
            name: route.object.name.to_string(),
            created_at_unix_s: route.created_at_unix_s,
            attachments: each(&route.attachments),
            rules: each(&route.rules),
        }
    }
}

impl From<&Attachment> for proto::Attachment {
    fn from(attachment: &Attachment) -> Self {
        Self {
            listener: attachment.listener.to_string(),
            hosts: each(&attachment.hosts),
        }
    }
}

impl From<&HostClaim> for proto::HostClaim {
    fn from(claim: &HostClaim) -> Self {
        Self {
            host: host(&claim.host),
            claimed: host(&claim.claimed),
        }
    }
}

impl From<&Rule> for proto::Rule {
    fn from(rule: &Rule) -> Self {
        let action = match &rule.action {
            Action::Forward(backends) => proto::rule::Action::Forward(proto::Forward {
                backends: each(backends),
            }),
            Action::Redirect(redirect) => proto::rule::Action::Redirect(redirect.into()),
            Action::Fault(reason) => proto::rule::Action::Fault(fault(reason)),
        };
        Self {
            name: optional(rule.name.as_ref()),
            matches: each(&rule.matches),
            filters: each(&rule.filters),
            request_timeout_ms: rule.timeouts.request_ms.unwrap_or(0),
            backend_request_timeout_ms: rule.timeouts.backend_request_ms.unwrap_or(0),
            action: Some(action),
        }
    }
}

fn fault(reason: &Arc<str>) -> proto::Fault {
    proto::Fault {
        reason: reason.to_string(),
    }
}

impl From<&Match> for proto::Match {
    fn from(condition: &Match) -> Self {
        let (path_type, path) = match &condition.path {
            PathMatch::Exact(path) => (proto::MatchType::Exact, path),
            PathMatch::Prefix(path) => (proto::MatchType::Prefix, path),
            PathMatch::Regex(path) => (proto::MatchType::Regex, path),
        };
        Self {
            path: Some(proto::PathMatch {
                r#type: path_type.into(),
                value: path.to_string(),
            }),
            method: optional(condition.method.as_ref()),
            headers: each(&condition.headers),
            query_params: each(&condition.query_params),
        }
    }
}

impl From<&ValueMatch> for proto::ValueMatch {
    fn from(condition: &ValueMatch) -> Self {
        let (match_type, value) = match &condition.value {
            StringMatch::Exact(value) => (proto::MatchType::Exact, value),
            StringMatch::Regex(value) => (proto::MatchType::Regex, value),
        };
        let name = condition.name.to_string();
        Self {
            r#type: match_type.into(),
            name,
            value: value.to_string(),
        }
    }
}

impl From<&Filter> for proto::Filter {
    fn from(filter: &Filter) -> Self {
        use proto::filter::Filter as Wire;
        let filter = match filter {
            Filter::RequestHeaders(edits) => Wire::RequestHeaders(edits.into()),
            Filter::ResponseHeaders(edits) => Wire::ResponseHeaders(edits.into()),
            Filter::Rewrite(rewrite) => Wire::Rewrite(rewrite.into()),
            Filter::Mirror(mirror) => Wire::Mirror(mirror.into()),
        };
        Self {
            filter: Some(filter),
        }
    }
}

impl From<&HeaderEdits> for proto::HeaderEdits {
    fn from(edits: &HeaderEdits) -> Self {
        let headers = |pairs: &[(Arc<str>, Arc<str>)]| {
            let header = |(name, value): &(Arc<str>, Arc<str>)| proto::Header {
                name: name.to_string(),
                value: value.to_string(),
            };
            pairs.iter().map(header).collect()
        };
        Self {
            set: headers(&edits.set),
            add: headers(&edits.add),
            remove: names(&edits.remove),
        }
    }
}

impl From<&PathEdit> for proto::PathEdit {
    fn from(edit: &PathEdit) -> Self {
        let edit = match edit {
            PathEdit::Full(path) => proto::path_edit::Edit::Full(path.to_string()),
            PathEdit::Prefix(path) => proto::path_edit::Edit::Prefix(path.to_string()),
        };
        Self { edit: Some(edit) }
    }
}

impl From<&Rewrite> for proto::Rewrite {
    fn from(rewrite: &Rewrite) -> Self {
        Self {
            hostname: optional(rewrite.hostname.as_ref()),
            path: rewrite.path.as_ref().map(Into::into),
        }
    }
}

impl From<&Redirect> for proto::Redirect {
    fn from(redirect: &Redirect) -> Self {
        Self {
            scheme: optional(redirect.scheme.as_ref()),
            hostname: optional(redirect.hostname.as_ref()),
            path: redirect.path.as_ref().map(Into::into),
            port: redirect.port.map_or(0, u32::from),
            status_code: redirect.status_code.into(),
        }
    }
}

impl From<&Mirror> for proto::Mirror {
    fn from(mirror: &Mirror) -> Self {
        Self {
            backend: mirror.backend.to_string(),
            numerator: mirror.numerator,
            denominator: mirror.denominator,
        }
    }
}

impl From<&WeightedBackend> for proto::WeightedBackend {
    fn from(choice: &WeightedBackend) -> Self {
        use proto::weighted_backend::Target as Wire;
        let target = match &choice.target {
            Target::Backend(name) => Wire::Backend(name.to_string()),
            Target::Fault(reason) => Wire::Fault(fault(reason)),
        };
        Self {
            weight: choice.weight,
            target: Some(target),
            filters: each(&choice.filters),
        }
    }
}

impl From<&Backend> for proto::Backend {
    fn from(backend: &Backend) -> Self {
        let protocol = match backend.protocol {
            BackendProtocol::Http1 => proto::BackendProtocol::Http1,
            BackendProtocol::H2c => proto::BackendProtocol::H2c,
        };
        Self {
            name: backend.name.to_string(),
            namespace: backend.service.namespace.to_string(),
            service: backend.service.name.to_string(),
            port: backend.port.into(),
            protocol: protocol.into(),
            endpoints: backend.endpoints.to_string(),
        }
    }
}

impl From<&EndpointSet> for proto::EndpointSet {
    fn from(set: &EndpointSet) -> Self {
        let endpoints = set.endpoints.iter().map(|endpoint| proto::Endpoint {
            address: endpoint.address.to_string(),
            draining: endpoint.draining,
        });
        Self {
            name: set.name.to_string(),
            endpoints: endpoints.collect(),
        }
    }
}

impl From<&Certificate> for proto::Certificate {
    fn from(certificate: &Certificate) -> Self {
        Self {
            name: certificate.name.to_string(),
            chain: certificate.chain.clone(),
            dns_names: certificate.dns_names.iter().map(host).collect(),
            not_after_unix_s: certificate.not_after_unix_s,
            private_key: certificate.private_key.to_string(),
        }
    }
}

impl From<&PrivateKey> for proto::PrivateKey {
    fn from(key: &PrivateKey) -> Self {
        Self {
            name: key.name.to_string(),
            der: key.der.expose().clone(),
        }
    }
}

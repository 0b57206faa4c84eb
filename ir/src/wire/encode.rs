//! From the model to the wire's messages.

use std::sync::Arc;

use tidegate_proto::ir::v1 as proto;

use crate::{
    Action, Attachment, Certificate, ClientValidation, Edge, GrpcMethod, HostClaim, Hostname,
    Listener, ListenerProtocol, Match, PartName, PathMatch, PrivateKey, Retry, Route, RouteKind,
    Rule, SessionCarrier, SessionPersistence, StringMatch, Target, TlsMode, TrustBundle,
    ValueMatch, WeightedBackend,
};

fn host(hostname: &Hostname) -> String {
    match hostname {
        Hostname::Any => String::new(),
        Hostname::Wildcard(_) | Hostname::Exact(_) => hostname.to_string(),
    }
}

pub(super) fn optional(text: Option<&Arc<str>>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

pub(super) fn names(names: &[PartName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(super) fn each<'a, A: 'a, B: From<&'a A>>(items: &'a [A]) -> Vec<B> {
    items.iter().map(B::from).collect()
}

impl From<&Listener> for proto::Listener {
    fn from(listener: &Listener) -> Self {
        let protocol = match &listener.protocol {
            ListenerProtocol::Http => proto::ListenerProtocol::Http,
            ListenerProtocol::Https { .. } => proto::ListenerProtocol::Https,
            ListenerProtocol::Tls(_) => proto::ListenerProtocol::Tls,
            ListenerProtocol::Tcp => proto::ListenerProtocol::Tcp,
            ListenerProtocol::Udp => proto::ListenerProtocol::Udp,
        };
        let tls_passthrough = listener.protocol == ListenerProtocol::Tls(TlsMode::Passthrough);
        let (certificates, validation) = listener.protocol.ends_tls_with().unwrap_or_default();
        let set = listener.listener_set.as_ref();
        Self {
            name: listener.name.to_string(),
            gateway_namespace: listener.gateway.namespace.to_string(),
            gateway_name: listener.gateway.name.to_string(),
            section_name: listener.section_name.to_string(),
            port: listener.port.into(),
            bind_port: listener.bind_port.into(),
            protocol: protocol.into(),
            hostname: host(&listener.hostname),
            certificates: names(certificates),
            client_validation: validation.map(Into::into),
            filters: each(&listener.filters),
            backend_client_certificate: optional(listener.backend_client_certificate.as_ref()),
            listener_set_namespace: optional(set.map(|set| &set.namespace)),
            listener_set_name: optional(set.map(|set| &set.name)),
            tls_passthrough,
            edge: (*listener.edge != Edge::default()).then(|| (&*listener.edge).into()),
        }
    }
}

impl From<&ClientValidation> for proto::ClientValidation {
    fn from(validation: &ClientValidation) -> Self {
        Self {
            trust: validation.trust.to_string(),
            insecure_fallback: validation.insecure_fallback,
        }
    }
}

impl From<&Route> for proto::Route {
    fn from(route: &Route) -> Self {
        let kind = match route.kind {
            RouteKind::Http => proto::RouteKind::Http,
            RouteKind::Grpc => proto::RouteKind::Grpc,
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
            Action::Redirect(redirect) => proto::rule::Action::Redirect((&**redirect).into()),
            Action::Fault(reason) => proto::rule::Action::Fault(fault(reason)),
        };
        Self {
            name: optional(rule.name.as_ref()),
            matches: each(&rule.matches),
            filters: each(&rule.filters),
            request_timeout_ms: rule.timeouts.request_ms.unwrap_or(0),
            backend_request_timeout_ms: rule.timeouts.backend_request_ms.unwrap_or(0),
            action: Some(action),
            retry: rule.retry.as_deref().map(Into::into),
            session: rule.session.as_deref().map(Into::into),
        }
    }
}

pub(super) fn fault(reason: &Arc<str>) -> proto::Fault {
    proto::Fault {
        reason: reason.to_string(),
    }
}

impl From<&Retry> for proto::Retry {
    fn from(retry: &Retry) -> Self {
        Self {
            attempts: retry.attempts,
            codes: retry.codes.iter().map(|code| u32::from(*code)).collect(),
            backoff_ms: retry.backoff_ms,
        }
    }
}

impl From<&SessionPersistence> for proto::SessionPersistence {
    fn from(session: &SessionPersistence) -> Self {
        let carrier = match session.carrier {
            SessionCarrier::SessionCookie => proto::SessionCarrier::SessionCookie,
            SessionCarrier::PermanentCookie => proto::SessionCarrier::PermanentCookie,
            SessionCarrier::Header => proto::SessionCarrier::Header,
        };
        Self {
            name: session.name.to_string(),
            carrier: carrier.into(),
            absolute_timeout_ms: session.absolute_timeout_ms.unwrap_or(0),
            path: session.path.to_string(),
        }
    }
}

impl From<&Match> for proto::Match {
    fn from(condition: &Match) -> Self {
        let path = |match_type: proto::MatchType, path: &Arc<str>| {
            let value = path.to_string();
            let path = proto::PathMatch {
                r#type: match_type.into(),
                value,
            };
            (Some(path), None)
        };
        let (path, grpc_method) = match &condition.path {
            PathMatch::Exact(text) => path(proto::MatchType::Exact, text),
            PathMatch::Prefix(text) => path(proto::MatchType::Prefix, text),
            PathMatch::Regex(text) => path(proto::MatchType::Regex, text),
            PathMatch::Method(method) => (None, Some(method.into())),
        };
        Self {
            path,
            grpc_method,
            method: optional(condition.method.as_ref()),
            headers: each(&condition.headers),
            query_params: each(&condition.query_params),
        }
    }
}

impl From<&GrpcMethod> for proto::GrpcMethodMatch {
    fn from(condition: &GrpcMethod) -> Self {
        Self {
            service: condition.service.as_ref().map(Into::into),
            method: condition.method.as_ref().map(Into::into),
        }
    }
}

impl From<&StringMatch> for proto::TextMatch {
    fn from(condition: &StringMatch) -> Self {
        Self {
            r#type: match_type(condition).into(),
            value: condition.text().to_owned(),
        }
    }
}

impl From<&ValueMatch> for proto::ValueMatch {
    fn from(condition: &ValueMatch) -> Self {
        Self {
            r#type: match_type(&condition.value).into(),
            name: condition.name.to_string(),
            value: condition.value.text().to_owned(),
        }
    }
}

fn match_type(condition: &StringMatch) -> proto::MatchType {
    match condition {
        StringMatch::Exact(_) => proto::MatchType::Exact,
        StringMatch::Regex(_) => proto::MatchType::Regex,
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

impl From<&TrustBundle> for proto::TrustBundle {
    fn from(bundle: &TrustBundle) -> Self {
        Self {
            name: bundle.name.to_string(),
            certificates: bundle.certificates.clone(),
        }
    }
}

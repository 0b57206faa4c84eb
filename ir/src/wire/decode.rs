//! From the wire's messages to the model; what does not fit is refused with the path of its field.

use std::sync::Arc;

use tidegate_proto::ir::v1 as proto;

use super::InvalidPart;
use crate::{
    Action, Attachment, Certificate, ClientValidation, GrpcMethod, HostClaim, Hostname, Listener,
    ListenerProtocol, Match, ObjectName, PathMatch, PrivateKey, Redirect, Retry, Route, RouteKind,
    Rule, SecretBytes, SessionCarrier, SessionPersistence, StringMatch, Target, Timeouts, TlsMode,
    TrustBundle, ValueMatch, WeightedBackend,
};

pub(super) type Decoded<T> = Result<T, InvalidPart>;

pub(super) fn text(field: &str, value: String) -> Decoded<Arc<str>> {
    if value.is_empty() {
        Err(InvalidPart::new(field, "it is empty"))
    } else {
        Ok(value.into())
    }
}

pub(super) fn optional(value: String) -> Option<Arc<str>> {
    (!value.is_empty()).then(|| value.into())
}

pub(super) fn host(field: &str, value: &str) -> Decoded<Hostname> {
    Hostname::parse(value).map_err(|error| InvalidPart::new(field, error.to_string()))
}

pub(super) fn port(field: &str, value: u32) -> Decoded<u16> {
    match u16::try_from(value) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(InvalidPart::new(field, format!("{value} is no port"))),
    }
}

pub(super) fn each<A, B: TryFrom<A, Error = InvalidPart>>(
    field: &str,
    items: Vec<A>,
) -> Decoded<Vec<B>> {
    // Collecting results would leave room for four items where there is mostly one.
    let mut all = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let one = B::try_from(item);
        all.push(one.map_err(|error| error.inside(format_args!("{field}[{index}]")))?);
    }
    Ok(all)
}

pub(super) fn at_least_one<T>(field: &str, items: Vec<T>) -> Decoded<Vec<T>> {
    if items.is_empty() {
        return Err(InvalidPart::new(field, "there must be at least one"));
    }
    Ok(items)
}

pub(super) fn set<T>(field: &str, value: Option<T>) -> Decoded<T> {
    value.ok_or_else(|| InvalidPart::new(field, "it is not set"))
}

pub(super) fn unknown<T>(field: &str, number: i32) -> Decoded<T> {
    Err(InvalidPart::new(
        field,
        format!("{number} has no meaning; a newer worker may know it"),
    ))
}

impl TryFrom<proto::Listener> for Listener {
    type Error = InvalidPart;

    fn try_from(wire: proto::Listener) -> Decoded<Self> {
        let protocol = protocol(&wire)?;
        let listener_set = optional(wire.listener_set_name)
            .map(|name| ObjectName::new(wire.listener_set_namespace.as_str(), name));
        Ok(Self {
            name: text("name", wire.name)?,
            gateway: ObjectName::new(
                text("gateway_namespace", wire.gateway_namespace)?,
                text("gateway_name", wire.gateway_name)?,
            ),
            listener_set,
            section_name: text("section_name", wire.section_name)?,
            port: port("port", wire.port)?,
            bind_port: port("bind_port", wire.bind_port)?,
            hostname: host("hostname", &wire.hostname)?,
            protocol,
            filters: each("filters", wire.filters)?,
            backend_client_certificate: optional(wire.backend_client_certificate),
            edge: Box::new(wire.edge.unwrap_or_default().try_into()?),
        })
    }
}

fn protocol(wire: &proto::Listener) -> Decoded<ListenerProtocol> {
    let certificates = || wire.certificates.iter().map(|name| name.as_str().into());
    let client_validation = || wire.client_validation.clone();
    let client_validation = || client_validation().map(TryInto::try_into).transpose();
    Ok(match wire.protocol() {
        proto::ListenerProtocol::Http => ListenerProtocol::Http,
        proto::ListenerProtocol::Https => ListenerProtocol::Https {
            certificates: certificates().collect(),
            client_validation: client_validation()?,
        },
        proto::ListenerProtocol::Tls if wire.tls_passthrough => {
            ListenerProtocol::Tls(TlsMode::Passthrough)
        }
        proto::ListenerProtocol::Tls => ListenerProtocol::Tls(TlsMode::Terminate {
            certificates: certificates().collect(),
            client_validation: client_validation()?,
        }),
        proto::ListenerProtocol::Tcp => ListenerProtocol::Tcp,
        proto::ListenerProtocol::Udp => ListenerProtocol::Udp,
        proto::ListenerProtocol::Unspecified => return unknown("protocol", wire.protocol),
    })
}

impl TryFrom<proto::ClientValidation> for ClientValidation {
    type Error = InvalidPart;

    fn try_from(wire: proto::ClientValidation) -> Decoded<Self> {
        Ok(Self {
            trust: text("client_validation.trust", wire.trust)?,
            insecure_fallback: wire.insecure_fallback,
        })
    }
}

impl TryFrom<proto::Route> for Route {
    type Error = InvalidPart;

    fn try_from(wire: proto::Route) -> Decoded<Self> {
        let kind = match wire.kind() {
            proto::RouteKind::Http => RouteKind::Http,
            proto::RouteKind::Grpc => RouteKind::Grpc,
            proto::RouteKind::Unspecified => return unknown("kind", wire.kind),
        };
        Ok(Self {
            kind,
            object: ObjectName::new(text("namespace", wire.namespace)?, text("name", wire.name)?),
            created_at_unix_s: wire.created_at_unix_s,
            attachments: each("attachments", wire.attachments)?,
            rules: each("rules", wire.rules)?,
        })
    }
}

impl TryFrom<proto::Attachment> for Attachment {
    type Error = InvalidPart;

    fn try_from(wire: proto::Attachment) -> Decoded<Self> {
        let hosts = at_least_one("hosts", each("hosts", wire.hosts)?)?;
        Ok(Self {
            listener: text("listener", wire.listener)?,
            hosts,
        })
    }
}

impl TryFrom<proto::HostClaim> for HostClaim {
    type Error = InvalidPart;

    fn try_from(wire: proto::HostClaim) -> Decoded<Self> {
        Ok(Self {
            host: host("host", &wire.host)?,
            claimed: host("claimed", &wire.claimed)?,
        })
    }
}

impl TryFrom<proto::Rule> for Rule {
    type Error = InvalidPart;

    fn try_from(wire: proto::Rule) -> Decoded<Self> {
        let action = match set("action", wire.action)? {
            proto::rule::Action::Forward(forward) => Action::Forward(choices(forward)?),
            proto::rule::Action::Redirect(redirect) => {
                let redirect = Redirect::try_from(redirect);
                let redirect = redirect.map_err(|error| error.inside("redirect"))?;
                Action::Redirect(Arc::new(redirect))
            }
            proto::rule::Action::Fault(fault) => Action::Fault(fault.reason.into()),
        };
        let retry = wire.retry.map(Retry::try_from).transpose()?;
        let session = wire.session.map(SessionPersistence::try_from).transpose()?;
        Ok(Self {
            name: optional(wire.name),
            matches: at_least_one("matches", each("matches", wire.matches)?)?,
            filters: each("filters", wire.filters)?,
            action,
            timeouts: Timeouts {
                request_ms: (wire.request_timeout_ms > 0).then_some(wire.request_timeout_ms),
                backend_request_ms: (wire.backend_request_timeout_ms > 0)
                    .then_some(wire.backend_request_timeout_ms),
            },
            retry: retry.map(Arc::new),
            session: session.map(Arc::new),
        })
    }
}

impl TryFrom<proto::Retry> for Retry {
    type Error = InvalidPart;

    fn try_from(wire: proto::Retry) -> Decoded<Self> {
        let code = |code: u32| match u16::try_from(code) {
            Ok(code @ 400..=599) => Ok(code),
            _ => Err(InvalidPart::new(
                "retry.codes",
                format!("{code} is no status of an error"),
            )),
        };
        Ok(Self {
            attempts: wire.attempts,
            codes: wire.codes.into_iter().map(code).collect::<Decoded<_>>()?,
            backoff_ms: wire.backoff_ms,
        })
    }
}

impl TryFrom<proto::SessionPersistence> for SessionPersistence {
    type Error = InvalidPart;

    fn try_from(wire: proto::SessionPersistence) -> Decoded<Self> {
        let carrier = match wire.carrier() {
            proto::SessionCarrier::SessionCookie => SessionCarrier::SessionCookie,
            proto::SessionCarrier::PermanentCookie => SessionCarrier::PermanentCookie,
            proto::SessionCarrier::Header => SessionCarrier::Header,
            proto::SessionCarrier::Unspecified => return unknown("session.carrier", wire.carrier),
        };
        Ok(Self {
            name: text("session.name", wire.name)?,
            carrier,
            absolute_timeout_ms: (wire.absolute_timeout_ms > 0).then_some(wire.absolute_timeout_ms),
            path: wire.path.into(),
        })
    }
}

fn choices(wire: proto::Forward) -> Decoded<Vec<WeightedBackend>> {
    let choices: Vec<WeightedBackend> = each("forward.backends", wire.backends)?;
    if choices.iter().all(|choice| choice.weight == 0) {
        return Err(InvalidPart::new("forward.backends", "the weights sum to 0"));
    }
    Ok(choices)
}

impl TryFrom<proto::WeightedBackend> for WeightedBackend {
    type Error = InvalidPart;

    fn try_from(wire: proto::WeightedBackend) -> Decoded<Self> {
        let target = match set("target", wire.target)? {
            proto::weighted_backend::Target::Backend(name) => {
                Target::Backend(text("backend", name)?)
            }
            proto::weighted_backend::Target::Fault(fault) => Target::Fault(fault.reason.into()),
        };
        Ok(Self {
            weight: weight(wire.weight)?,
            target,
            filters: each("filters", wire.filters)?,
        })
    }
}

pub(super) fn weight(value: u32) -> Decoded<u32> {
    if value > 1_000_000 {
        return Err(InvalidPart::new(
            "weight",
            format!("{value} is over 1,000,000"),
        ));
    }
    Ok(value)
}

impl TryFrom<proto::Match> for Match {
    type Error = InvalidPart;

    fn try_from(wire: proto::Match) -> Decoded<Self> {
        let path = match (wire.path, wire.grpc_method) {
            (Some(path), None) => path.try_into()?,
            (None, Some(method)) => PathMatch::Method(method.try_into()?),
            _ => {
                return Err(InvalidPart::new(
                    "path",
                    "path or grpc_method must be set, not both",
                ));
            }
        };
        Ok(Self {
            path,
            method: optional(wire.method),
            headers: each("headers", wire.headers)?,
            query_params: each("query_params", wire.query_params)?,
        })
    }
}

impl TryFrom<proto::PathMatch> for PathMatch {
    type Error = InvalidPart;

    fn try_from(wire: proto::PathMatch) -> Decoded<Self> {
        let value = Arc::from(wire.value.as_str());
        Ok(match wire.r#type() {
            proto::MatchType::Exact => Self::Exact(value),
            proto::MatchType::Prefix => Self::Prefix(value),
            proto::MatchType::Regex => Self::Regex(value),
            proto::MatchType::Unspecified => return unknown("path.type", wire.r#type),
        })
    }
}

impl TryFrom<proto::GrpcMethodMatch> for GrpcMethod {
    type Error = InvalidPart;

    fn try_from(wire: proto::GrpcMethodMatch) -> Decoded<Self> {
        let text = |wire: proto::TextMatch| string_match(wire.r#type, &wire.value);
        let inside = |error: InvalidPart| error.inside("grpc_method");
        Ok(Self {
            service: wire.service.map(text).transpose().map_err(inside)?,
            method: wire.method.map(text).transpose().map_err(inside)?,
        })
    }
}

impl TryFrom<proto::ValueMatch> for ValueMatch {
    type Error = InvalidPart;

    fn try_from(wire: proto::ValueMatch) -> Decoded<Self> {
        let value = string_match(wire.r#type, &wire.value)?;
        Ok(Self {
            name: text("name", wire.name)?,
            value,
        })
    }
}

fn string_match(match_type: i32, value: &str) -> Decoded<StringMatch> {
    match proto::MatchType::try_from(match_type) {
        Ok(proto::MatchType::Exact) => Ok(StringMatch::Exact(value.into())),
        Ok(proto::MatchType::Regex) => Ok(StringMatch::Regex(value.into())),
        _ => unknown("type", match_type),
    }
}

impl TryFrom<proto::Certificate> for Certificate {
    type Error = InvalidPart;

    fn try_from(wire: proto::Certificate) -> Decoded<Self> {
        Ok(Self {
            name: text("name", wire.name)?,
            chain: at_least_one("chain", wire.chain)?,
            dns_names: wire
                .dns_names
                .iter()
                .map(|name| host("dns_names", name))
                .collect::<Decoded<_>>()?,
            not_after_unix_s: wire.not_after_unix_s,
            private_key: text("private_key", wire.private_key)?,
        })
    }
}

impl TryFrom<proto::PrivateKey> for PrivateKey {
    type Error = InvalidPart;

    fn try_from(wire: proto::PrivateKey) -> Decoded<Self> {
        Ok(Self {
            name: text("name", wire.name)?,
            der: SecretBytes::new(wire.der),
        })
    }
}

impl TryFrom<proto::TrustBundle> for TrustBundle {
    type Error = InvalidPart;

    fn try_from(wire: proto::TrustBundle) -> Decoded<Self> {
        Ok(Self {
            name: text("name", wire.name)?,
            certificates: at_least_one("certificates", wire.certificates)?,
        })
    }
}

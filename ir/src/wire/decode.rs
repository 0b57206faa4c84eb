//! From the wire's messages to the model; what does not fit is refused with the path of its field.

use std::sync::Arc;

use tidegate_proto::ir::v1 as proto;

use super::InvalidPart;
use crate::{
    Action, Attachment, Backend, BackendProtocol, Certificate, Endpoint, EndpointSet, Filter,
    HeaderEdits, HostClaim, Hostname, Listener, ListenerProtocol, Match, Mirror, ObjectName,
    PathEdit, PathMatch, PrivateKey, Redirect, Rewrite, Route, RouteKind, Rule, SecretBytes,
    StringMatch, Target, Timeouts, ValueMatch, WeightedBackend,
};

type Decoded<T> = Result<T, InvalidPart>;

fn text(field: &str, value: String) -> Decoded<Arc<str>> {
    if value.is_empty() {
        Err(InvalidPart::new(field, "it is empty"))
    } else {
        Ok(value.into())
    }
}

fn optional(value: String) -> Option<Arc<str>> {
    (!value.is_empty()).then(|| value.into())
}

fn host(field: &str, value: &str) -> Decoded<Hostname> {
    Hostname::parse(value).map_err(|error| InvalidPart::new(field, error.to_string()))
}

fn port(field: &str, value: u32) -> Decoded<u16> {
    match u16::try_from(value) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(InvalidPart::new(field, format!("{value} is no port"))),
    }
}

fn each<A, B: TryFrom<A, Error = InvalidPart>>(field: &str, items: Vec<A>) -> Decoded<Vec<B>> {
    let one = |(index, item)| {
        B::try_from(item).map_err(|error| error.inside(format_args!("{field}[{index}]")))
    };
    items.into_iter().enumerate().map(one).collect()
}

fn at_least_one<T>(field: &str, items: Vec<T>) -> Decoded<Vec<T>> {
    if items.is_empty() {
        return Err(InvalidPart::new(field, "there must be at least one"));
    }
    Ok(items)
}

fn set<T>(field: &str, value: Option<T>) -> Decoded<T> {
    value.ok_or_else(|| InvalidPart::new(field, "it is not set"))
}

fn unknown<T>(field: &str, number: i32) -> Decoded<T> {
    Err(InvalidPart::new(
        field,
        format!("{number} has no meaning; a newer worker may know it"),
    ))
}

impl TryFrom<proto::Listener> for Listener {
    type Error = InvalidPart;

    fn try_from(wire: proto::Listener) -> Decoded<Self> {
        let protocol = match wire.protocol() {
            proto::ListenerProtocol::Http => ListenerProtocol::Http,
            proto::ListenerProtocol::Https => {
                let certificates = wire.certificates.into_iter().map(Arc::from).collect();
                ListenerProtocol::Https { certificates }
            }
            proto::ListenerProtocol::Unspecified => return unknown("protocol", wire.protocol),
        };
        Ok(Self {
            name: text("name", wire.name)?,
            gateway: ObjectName::new(
                text("gateway_namespace", wire.gateway_namespace)?,
                text("gateway_name", wire.gateway_name)?,
            ),
            section_name: text("section_name", wire.section_name)?,
            port: port("port", wire.port)?,
            bind_port: port("bind_port", wire.bind_port)?,
            hostname: host("hostname", &wire.hostname)?,
            protocol,
        })
    }
}

impl TryFrom<proto::Route> for Route {
    type Error = InvalidPart;

    fn try_from(wire: proto::Route) -> Decoded<Self> {
        let kind = match wire.kind() {
            proto::RouteKind::Http => RouteKind::Http,
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
            proto::rule::Action::Redirect(redirect) => Action::Redirect(
                redirect
                    .try_into()
                    .map_err(|e: InvalidPart| e.inside("redirect"))?,
            ),
            proto::rule::Action::Fault(fault) => Action::Fault(fault.reason.into()),
        };
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
        if wire.weight > 1_000_000 {
            return Err(InvalidPart::new(
                "weight",
                format!("{} is over 1,000,000", wire.weight),
            ));
        }
        let target = match set("target", wire.target)? {
            proto::weighted_backend::Target::Backend(name) => {
                Target::Backend(text("backend", name)?)
            }
            proto::weighted_backend::Target::Fault(fault) => Target::Fault(fault.reason.into()),
        };
        Ok(Self {
            weight: wire.weight,
            target,
            filters: each("filters", wire.filters)?,
        })
    }
}

impl TryFrom<proto::Match> for Match {
    type Error = InvalidPart;

    fn try_from(wire: proto::Match) -> Decoded<Self> {
        let path = set("path", wire.path)?;
        let value = Arc::from(path.value.as_str());
        let path = match path.r#type() {
            proto::MatchType::Exact => PathMatch::Exact(value),
            proto::MatchType::Prefix => PathMatch::Prefix(value),
            proto::MatchType::Regex => PathMatch::Regex(value),
            proto::MatchType::Unspecified => return unknown("path.type", path.r#type),
        };
        Ok(Self {
            path,
            method: optional(wire.method),
            headers: each("headers", wire.headers)?,
            query_params: each("query_params", wire.query_params)?,
        })
    }
}

impl TryFrom<proto::ValueMatch> for ValueMatch {
    type Error = InvalidPart;

    fn try_from(wire: proto::ValueMatch) -> Decoded<Self> {
        let expected = Arc::from(wire.value.as_str());
        let value = match wire.r#type() {
            proto::MatchType::Exact => StringMatch::Exact(expected),
            proto::MatchType::Regex => StringMatch::Regex(expected),
            proto::MatchType::Prefix | proto::MatchType::Unspecified => {
                return unknown("type", wire.r#type);
            }
        };
        Ok(Self {
            name: text("name", wire.name)?,
            value,
        })
    }
}

impl TryFrom<proto::Filter> for Filter {
    type Error = InvalidPart;

    fn try_from(wire: proto::Filter) -> Decoded<Self> {
        use proto::filter::Filter as Wire;
        Ok(match set("filter", wire.filter)? {
            Wire::RequestHeaders(edits) => Self::RequestHeaders(edits.into()),
            Wire::ResponseHeaders(edits) => Self::ResponseHeaders(edits.into()),
            Wire::Rewrite(rewrite) => Self::Rewrite(Rewrite {
                hostname: optional(rewrite.hostname),
                path: path_edit(rewrite.path)?,
            }),
            Wire::Mirror(mirror) => Self::Mirror(mirror.try_into()?),
        })
    }
}

impl From<proto::HeaderEdits> for HeaderEdits {
    fn from(wire: proto::HeaderEdits) -> Self {
        let pairs = |headers: Vec<proto::Header>| {
            headers
                .into_iter()
                .map(|header| (header.name.into(), header.value.into()))
                .collect()
        };
        Self {
            set: pairs(wire.set),
            add: pairs(wire.add),
            remove: wire.remove.into_iter().map(Arc::from).collect(),
        }
    }
}

fn path_edit(wire: Option<proto::PathEdit>) -> Decoded<Option<PathEdit>> {
    let Some(wire) = wire else { return Ok(None) };
    Ok(Some(match set("path.edit", wire.edit)? {
        proto::path_edit::Edit::Full(path) => PathEdit::Full(path.into()),
        proto::path_edit::Edit::Prefix(path) => PathEdit::Prefix(path.into()),
    }))
}

impl TryFrom<proto::Redirect> for Redirect {
    type Error = InvalidPart;

    fn try_from(wire: proto::Redirect) -> Decoded<Self> {
        let status_code = match wire.status_code {
            301 | 302 | 303 | 307 | 308 => wire.status_code as u16,
            other => {
                return Err(InvalidPart::new(
                    "status_code",
                    format!("{other} is no redirect"),
                ));
            }
        };
        Ok(Self {
            scheme: optional(wire.scheme),
            hostname: optional(wire.hostname),
            path: path_edit(wire.path)?,
            port: if wire.port == 0 {
                None
            } else {
                Some(port("port", wire.port)?)
            },
            status_code,
        })
    }
}

impl TryFrom<proto::Mirror> for Mirror {
    type Error = InvalidPart;

    fn try_from(wire: proto::Mirror) -> Decoded<Self> {
        if wire.denominator == 0 || wire.numerator > wire.denominator {
            let share = format!("{}/{} is no share", wire.numerator, wire.denominator);
            return Err(InvalidPart::new("mirror", share));
        }
        Ok(Self {
            backend: text("mirror.backend", wire.backend)?,
            numerator: wire.numerator,
            denominator: wire.denominator,
        })
    }
}

impl TryFrom<proto::Backend> for Backend {
    type Error = InvalidPart;

    fn try_from(wire: proto::Backend) -> Decoded<Self> {
        let protocol = match wire.protocol() {
            proto::BackendProtocol::Http1 => BackendProtocol::Http1,
            proto::BackendProtocol::H2c => BackendProtocol::H2c,
            proto::BackendProtocol::Unspecified => return unknown("protocol", wire.protocol),
        };
        Ok(Self {
            name: text("name", wire.name)?,
            service: ObjectName::new(
                text("namespace", wire.namespace)?,
                text("service", wire.service)?,
            ),
            port: port("port", wire.port)?,
            protocol,
            endpoints: text("endpoints", wire.endpoints)?,
        })
    }
}

impl TryFrom<proto::EndpointSet> for EndpointSet {
    type Error = InvalidPart;

    fn try_from(wire: proto::EndpointSet) -> Decoded<Self> {
        let endpoints = each("endpoints", wire.endpoints)?;
        Ok(Self {
            name: text("name", wire.name)?,
            endpoints,
        })
    }
}

impl TryFrom<proto::Endpoint> for Endpoint {
    type Error = InvalidPart;

    fn try_from(wire: proto::Endpoint) -> Decoded<Self> {
        let cause = |_| InvalidPart::new("address", format!("{:?} is no address", wire.address));
        Ok(Self {
            address: wire.address.parse().map_err(cause)?,
            draining: wire.draining,
        })
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

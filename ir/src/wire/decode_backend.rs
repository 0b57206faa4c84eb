//! From the wire's messages to the model's backends.

use tidegate_proto::ir::v1 as proto;

use super::InvalidPart;
use super::decode::{Decoded, each, optional, port, set, text, unknown};
use crate::{
    Backend, BackendKind, BackendProtocol, BackendTls, Balancing, ConnectionLimits, Destination,
    Ejection, Endpoint, EndpointSet, HashKey, ObjectName, ProxyVersion, RetryBudget, Security,
    SessionPersistence, SubjectAltName, Trust,
};

impl TryFrom<proto::Backend> for Backend {
    type Error = InvalidPart;

    fn try_from(wire: proto::Backend) -> Decoded<Self> {
        let protocol = match wire.protocol() {
            proto::BackendProtocol::Http1 => BackendProtocol::Http1,
            proto::BackendProtocol::Http2 => BackendProtocol::Http2,
            proto::BackendProtocol::Tcp => BackendProtocol::Tcp,
            proto::BackendProtocol::Udp => BackendProtocol::Udp,
            proto::BackendProtocol::Unspecified => return unknown("protocol", wire.protocol),
        };
        let kind = match wire.kind() {
            proto::BackendKind::Service => BackendKind::Service,
            proto::BackendKind::ServiceImport => BackendKind::ServiceImport,
            proto::BackendKind::XBackend => BackendKind::XBackend,
            proto::BackendKind::Unspecified => return unknown("kind", wire.kind),
        };
        let proxy_protocol = match proto::ProxyVersion::try_from(wire.proxy_protocol) {
            Ok(proto::ProxyVersion::Unspecified) => None,
            Ok(proto::ProxyVersion::V1) => Some(ProxyVersion::V1),
            Ok(proto::ProxyVersion::V2) => Some(ProxyVersion::V2),
            Err(_) => return unknown("proxy_protocol", wire.proxy_protocol),
        };
        Ok(Self {
            name: text("name", wire.name)?,
            kind,
            object: ObjectName::new(
                text("namespace", wire.namespace)?,
                text("object", wire.object)?,
            ),
            port: port("port", wire.port)?,
            protocol,
            security: security(wire.security)?,
            destination: destination(set("destination", wire.destination)?)?,
            balancing: set("balancing", wire.balancing)?.try_into()?,
            limits: wire.limits.unwrap_or_default().try_into()?,
            ejection: wire.ejection.map(Ejection::try_from).transpose()?,
            retry_budget: wire.retry_budget.map(RetryBudget::try_from).transpose()?,
            session: wire.session.map(SessionPersistence::try_from).transpose()?,
            proxy_protocol,
        })
    }
}

fn security(wire: Option<proto::backend::Security>) -> Decoded<Security> {
    Ok(match wire {
        None => Security::Plain,
        Some(proto::backend::Security::Tls(tls)) => Security::Tls(tls.try_into()?),
        Some(proto::backend::Security::Broken(fault)) => Security::Broken(fault.reason.into()),
    })
}

fn destination(wire: proto::backend::Destination) -> Decoded<Destination> {
    Ok(match wire {
        proto::backend::Destination::Endpoints(name) => {
            Destination::Endpoints(text("endpoints", name)?)
        }
        proto::backend::Destination::Dns(dns) => Destination::Dns {
            hostname: text("dns.hostname", dns.hostname)?,
            port: port("dns.port", dns.port)?,
        },
    })
}

impl TryFrom<proto::BackendTls> for BackendTls {
    type Error = InvalidPart;

    fn try_from(wire: proto::BackendTls) -> Decoded<Self> {
        let trust = match wire.trust {
            name if name.is_empty() => Trust::System,
            name => Trust::Bundle(name.into()),
        };
        Ok(Self {
            server_name: text("tls.server_name", wire.server_name)?,
            sans: each("tls.sans", wire.sans)?,
            trust,
            client_certificate: optional(wire.client_certificate),
        })
    }
}

impl TryFrom<proto::SubjectAltName> for SubjectAltName {
    type Error = InvalidPart;

    fn try_from(wire: proto::SubjectAltName) -> Decoded<Self> {
        use proto::subject_alt_name::Name;
        Ok(match set("name", wire.name)? {
            Name::Dns(name) => Self::Dns(text("dns", name)?),
            Name::Uri(uri) => Self::Uri(text("uri", uri)?),
        })
    }
}

impl TryFrom<proto::Balancing> for Balancing {
    type Error = InvalidPart;

    fn try_from(wire: proto::Balancing) -> Decoded<Self> {
        use proto::BalancingType as Type;
        let name = |name| text("balancing.hash_name", name);
        Ok(match wire.r#type() {
            Type::RoundRobin => Self::RoundRobin,
            Type::LeastRequest => Self::LeastRequest,
            Type::HashClientIp => Self::RingHash(HashKey::ClientIp),
            Type::HashHeader => Self::RingHash(HashKey::Header(name(wire.hash_name)?)),
            Type::HashCookie => Self::RingHash(HashKey::Cookie(name(wire.hash_name)?)),
            Type::Unspecified => return unknown("balancing.type", wire.r#type),
        })
    }
}

impl TryFrom<proto::ConnectionLimits> for ConnectionLimits {
    type Error = InvalidPart;

    fn try_from(wire: proto::ConnectionLimits) -> Decoded<Self> {
        if wire.connections == Some(0) || wire.requests == Some(0) {
            return Err(InvalidPart::new("limits", "0 would let nothing through"));
        }
        Ok(Self {
            connections: wire.connections,
            pending_requests: wire.pending_requests,
            requests: wire.requests,
        })
    }
}

impl TryFrom<proto::Ejection> for Ejection {
    type Error = InvalidPart;

    fn try_from(wire: proto::Ejection) -> Decoded<Self> {
        at_least_1(
            "ejection.consecutive_errors",
            wire.consecutive_errors.into(),
        )?;
        at_least_1("ejection.base_ms", wire.base_ms)?;
        Ok(Self {
            consecutive_errors: wire.consecutive_errors,
            base_ms: wire.base_ms,
            max_percent: percent("ejection.max_percent", wire.max_percent)?,
            panic_percent: percent("ejection.panic_percent", wire.panic_percent)?,
        })
    }
}

impl TryFrom<proto::RetryBudget> for RetryBudget {
    type Error = InvalidPart;

    fn try_from(wire: proto::RetryBudget) -> Decoded<Self> {
        at_least_1("retry_budget.interval_ms", wire.interval_ms)?;
        at_least_1("retry_budget.min_interval_ms", wire.min_interval_ms)?;
        Ok(Self {
            percent: percent("retry_budget.percent", wire.percent)?,
            interval_ms: wire.interval_ms,
            min_retries: wire.min_retries,
            min_interval_ms: wire.min_interval_ms,
        })
    }
}

fn at_least_1(field: &str, value: u64) -> Decoded<()> {
    if value == 0 {
        return Err(InvalidPart::new(field, "it must be at least 1"));
    }
    Ok(())
}

fn percent(field: &str, value: u32) -> Decoded<u8> {
    match u8::try_from(value) {
        Ok(value @ 0..=100) => Ok(value),
        _ => Err(InvalidPart::new(field, format!("{value} is no percentage"))),
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

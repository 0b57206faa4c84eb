//! From the model's backends to the wire's messages.

use tidegate_proto::ir::v1 as proto;

use super::encode::{each, fault, optional};
use crate::{
    Backend, BackendKind, BackendProtocol, BackendTls, Balancing, ConnectionLimits, Destination,
    Ejection, EndpointSet, HashKey, ProxyVersion, RetryBudget, Security, SubjectAltName, Trust,
};

impl From<&Backend> for proto::Backend {
    fn from(backend: &Backend) -> Self {
        use proto::backend::{Destination as WireDestination, Security as WireSecurity};
        let destination = match &backend.destination {
            Destination::Endpoints(name) => WireDestination::Endpoints(name.to_string()),
            Destination::Dns { hostname, port } => WireDestination::Dns(proto::DnsName {
                hostname: hostname.to_string(),
                port: (*port).into(),
            }),
        };
        let security = match &backend.security {
            Security::Plain => None,
            Security::Tls(tls) => Some(WireSecurity::Tls(tls.into())),
            Security::Broken(reason) => Some(WireSecurity::Broken(fault(reason))),
        };
        Self {
            name: backend.name.to_string(),
            namespace: backend.object.namespace.to_string(),
            object: backend.object.name.to_string(),
            port: backend.port.into(),
            protocol: proto::BackendProtocol::from(backend.protocol).into(),
            destination: Some(destination),
            kind: proto::BackendKind::from(backend.kind).into(),
            security,
            balancing: Some((&backend.balancing).into()),
            limits: Some((&backend.limits).into()),
            ejection: backend.ejection.as_ref().map(Into::into),
            retry_budget: backend.retry_budget.as_ref().map(Into::into),
            session: backend.session.as_ref().map(Into::into),
            proxy_protocol: match backend.proxy_protocol {
                None => proto::ProxyVersion::Unspecified,
                Some(ProxyVersion::V1) => proto::ProxyVersion::V1,
                Some(ProxyVersion::V2) => proto::ProxyVersion::V2,
            }
            .into(),
        }
    }
}

impl From<BackendProtocol> for proto::BackendProtocol {
    fn from(protocol: BackendProtocol) -> Self {
        match protocol {
            BackendProtocol::Http1 => Self::Http1,
            BackendProtocol::Http2 => Self::Http2,
            BackendProtocol::Tcp => Self::Tcp,
            BackendProtocol::Udp => Self::Udp,
        }
    }
}

impl From<BackendKind> for proto::BackendKind {
    fn from(kind: BackendKind) -> Self {
        match kind {
            BackendKind::Service => Self::Service,
            BackendKind::ServiceImport => Self::ServiceImport,
            BackendKind::XBackend => Self::XBackend,
        }
    }
}

impl From<&BackendTls> for proto::BackendTls {
    fn from(tls: &BackendTls) -> Self {
        let trust = match &tls.trust {
            Trust::Bundle(name) => name.to_string(),
            Trust::System => String::new(),
        };
        Self {
            server_name: tls.server_name.to_string(),
            sans: each(&tls.sans),
            trust,
            client_certificate: optional(tls.client_certificate.as_ref()),
        }
    }
}

impl From<&SubjectAltName> for proto::SubjectAltName {
    fn from(san: &SubjectAltName) -> Self {
        use proto::subject_alt_name::Name;
        let name = match san {
            SubjectAltName::Dns(name) => Name::Dns(name.to_string()),
            SubjectAltName::Uri(uri) => Name::Uri(uri.to_string()),
        };
        Self { name: Some(name) }
    }
}

impl From<&Balancing> for proto::Balancing {
    fn from(balancing: &Balancing) -> Self {
        use proto::BalancingType as Type;
        let (balancing, name) = match balancing {
            Balancing::RoundRobin => (Type::RoundRobin, None),
            Balancing::LeastRequest => (Type::LeastRequest, None),
            Balancing::RingHash(HashKey::ClientIp) => (Type::HashClientIp, None),
            Balancing::RingHash(HashKey::Header(name)) => (Type::HashHeader, Some(name)),
            Balancing::RingHash(HashKey::Cookie(name)) => (Type::HashCookie, Some(name)),
        };
        Self {
            r#type: balancing.into(),
            hash_name: name.map(ToString::to_string).unwrap_or_default(),
        }
    }
}

impl From<&ConnectionLimits> for proto::ConnectionLimits {
    fn from(limits: &ConnectionLimits) -> Self {
        Self {
            connections: limits.connections,
            pending_requests: limits.pending_requests,
            requests: limits.requests,
        }
    }
}

impl From<&Ejection> for proto::Ejection {
    fn from(ejection: &Ejection) -> Self {
        Self {
            consecutive_errors: ejection.consecutive_errors,
            base_ms: ejection.base_ms,
            max_percent: ejection.max_percent.into(),
            panic_percent: ejection.panic_percent.into(),
        }
    }
}

impl From<&RetryBudget> for proto::RetryBudget {
    fn from(budget: &RetryBudget) -> Self {
        Self {
            percent: budget.percent.into(),
            interval_ms: budget.interval_ms,
            min_retries: budget.min_retries,
            min_interval_ms: budget.min_interval_ms,
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

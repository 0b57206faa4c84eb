//! Rules of XBackends.

use std::net::IpAddr;

use super::Violations;
use super::backend_tls_policy::validation;
use super::session::session;
use crate::api::x_backend::{XBackendSpec, XBackendTls};
use crate::read::InvalidField;

/// Protocols that a backend may say it speaks.
const PROTOCOLS: [&str; 8] = [
    "TCP", "HTTP", "HTTP2", "HTTP11", "H2C", "MCP", "GRPC", "WSS",
];

pub(crate) fn x_backend(spec: &XBackendSpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    let type_ = spec.type_.as_str();
    let known = matches!(type_, "ExternalHostname" | "EndpointSelector");
    let message = "it must be ExternalHostname or EndpointSelector";
    violations.require(known, "spec.type", message);
    let fields = [
        (
            "ExternalHostname",
            "externalHostname",
            spec.external_hostname.is_some(),
        ),
        (
            "EndpointSelector",
            "endpointSelector",
            spec.endpoint_selector.is_some(),
        ),
    ];
    violations.one_of_type("spec", type_, &fields);
    violations.port("spec.port.number", spec.port.number);
    if let Some(external) = &spec.external_hostname {
        hostname(&mut violations, &external.hostname);
    }
    if let Some(selector) = &spec.endpoint_selector {
        let good = (1..=64).contains(&selector.match_labels.len());
        let message = "there are 1 to 64 labels; without any, every Pod would be chosen";
        violations.require(good, "spec.endpointSelector.matchLabels", message);
    }
    protocol(&mut violations, spec);
    if let Some(tls) = &spec.tls {
        tls_of(&mut violations, tls);
    }
    if let Some(persistence) = &spec.session_persistence {
        let good = type_ == "EndpointSelector";
        let message = "only a backend of type EndpointSelector keeps sessions; remove it";
        violations.require(good, "spec.sessionPersistence", message);
        session(&mut violations, "spec.sessionPersistence", persistence);
    }
    violations.0
}

fn hostname(violations: &mut Violations, hostname: &str) {
    let field = "spec.externalHostname.hostname";
    violations.precise_hostname(field, hostname);
    let inside = hostname == "cluster.local" || hostname.ends_with(".cluster.local");
    let message = "a name of the cluster is not outside of it; use a Service";
    violations.require(
        !inside && hostname.parse::<IpAddr>().is_err(),
        field,
        message,
    );
}

fn protocol(violations: &mut Violations, spec: &XBackendSpec) {
    let Some(protocol) = spec.protocol.as_deref() else {
        return;
    };
    let message = format!("it must be one of {}", PROTOCOLS.join(", "));
    violations.require(PROTOCOLS.contains(&protocol), "spec.protocol", &message);
    let encrypted = spec.tls.as_ref().is_some_and(|tls| tls.mode != "None");
    let message = "H2C is HTTP/2 in plain text; remove tls, or use HTTP2";
    violations.require(protocol != "H2C" || !encrypted, "spec.protocol", message);
    let message = "it needs tls; for plain text use H2C or HTTP";
    let good = !matches!(protocol, "HTTP2" | "WSS") || encrypted;
    violations.require(good, "spec.protocol", message);
}

fn tls_of(violations: &mut Violations, tls: &XBackendTls) {
    let mode = tls.mode.as_str();
    let known = matches!(mode, "None" | "ServerOnly" | "ClientAndServer");
    let message = "it must be None, ServerOnly or ClientAndServer";
    violations.require(known, "spec.tls.mode", message);
    let good = tls.client_certificate_ref.is_some() == (mode == "ClientAndServer");
    let message = "clientCertificateRef stands with the mode ClientAndServer, and with no other";
    violations.require(good, "spec.tls", message);
    let good = tls.validation.is_some() == (mode != "None");
    let message =
        "validation stands with the modes ServerOnly and ClientAndServer, and with no other";
    violations.require(good, "spec.tls", message);
    if let Some(own) = &tls.validation {
        validation(violations, "spec.tls.validation", own);
    }
}

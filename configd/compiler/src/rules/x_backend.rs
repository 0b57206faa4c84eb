//! Rules of XBackends (GEP-4894).

use super::Violations;
use super::backend_tls::validation;
use super::session::session;
use crate::api::x_backend::{EndpointSelector, XBackendSpec, XBackendTls};
use crate::read::InvalidField;

const PROTOCOLS: [&str; 8] = [
    "TCP", "HTTP", "HTTP2", "HTTP11", "H2C", "MCP", "GRPC", "WSS",
];

pub(crate) fn x_backend(spec: &XBackendSpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    violations.port("spec.port.number", spec.port.number);
    match spec.type_.as_str() {
        "ExternalHostname" => {
            let message = "the type needs it; set hostname";
            let path = "spec.externalHostname";
            violations.require(spec.external_hostname.is_some(), path, message);
            let message = "only type EndpointSelector has it; remove it";
            let path = "spec.endpointSelector";
            violations.require(spec.endpoint_selector.is_none(), path, message);
            let path = "spec.sessionPersistence";
            violations.require(spec.session_persistence.is_none(), path, message);
        }
        "EndpointSelector" => {
            let message = "the type needs it; set matchLabels";
            let path = "spec.endpointSelector";
            violations.require(spec.endpoint_selector.is_some(), path, message);
            let message = "only type ExternalHostname has it; remove it";
            let path = "spec.externalHostname";
            violations.require(spec.external_hostname.is_none(), path, message);
        }
        _ => violations.add(
            "spec.type",
            "it must be ExternalHostname or EndpointSelector",
        ),
    }
    if let Some(external) = &spec.external_hostname {
        let path = "spec.externalHostname.hostname";
        violations.precise_hostname(path, &external.hostname);
        let inside = external.hostname.ends_with(".cluster.local");
        let message = "it lies in the cluster; use a Service, or type EndpointSelector";
        violations.require(!inside, path, message);
    }
    if let Some(selector) = &spec.endpoint_selector {
        labels(&mut violations, selector);
    }
    if let Some(own) = &spec.session_persistence {
        session(&mut violations, "spec.sessionPersistence", own);
    }
    if let Some(own) = &spec.tls {
        tls(&mut violations, own);
    }
    protocol(&mut violations, spec);
    violations.0
}

fn labels(violations: &mut Violations, selector: &EndpointSelector) {
    let path = "spec.endpointSelector.matchLabels";
    let good = (1..=64).contains(&selector.match_labels.len());
    violations.require(good, path, "it must have 1 to 64 labels");
    for (name, value) in &selector.match_labels {
        let short = name.rsplit('/').next().unwrap_or_default();
        let good = (1..=63).contains(&short.len()) && name.len() <= 317 && value.len() <= 63;
        violations.require(good, path, &format!("{name}={value} is no label"));
    }
}

fn protocol(violations: &mut Violations, spec: &XBackendSpec) {
    let Some(protocol) = spec.protocol.as_deref() else {
        return;
    };
    let path = "spec.protocol";
    let message = format!("it must be one of {}", PROTOCOLS.join(", "));
    violations.require(PROTOCOLS.contains(&protocol), path, &message);
    let with_tls = spec.tls.as_ref().is_some_and(|tls| tls.mode != "None");
    match protocol {
        "H2C" => {
            let message = "H2C is HTTP/2 without TLS; use HTTP2 with it";
            violations.require(!with_tls, path, message);
        }
        "HTTP2" => {
            let message = "HTTP2 needs TLS; set spec.tls, or use H2C without it";
            violations.require(with_tls, path, message);
        }
        "WSS" => violations.require(with_tls, path, "WSS needs TLS; set spec.tls"),
        _ => {}
    }
}

fn tls(violations: &mut Violations, own: &XBackendTls) {
    let mode = own.mode.as_str();
    let known = matches!(mode, "None" | "ServerOnly" | "ClientAndServer");
    let message = "it must be None, ServerOnly or ClientAndServer";
    violations.require(known, "spec.tls.mode", message);
    let path = "spec.tls.validation";
    match &own.validation {
        Some(_) if mode == "None" => violations.add(path, "mode None has none; remove it"),
        Some(own) => validation(violations, path, own),
        None if mode == "None" => {}
        None => violations.add(path, "the mode needs it; say whom to trust"),
    }
    let path = "spec.tls.clientCertificateRef";
    match &own.client_certificate_ref {
        Some(reference) if mode == "ClientAndServer" => {
            violations.name(&format!("{path}.name"), &reference.name);
        }
        Some(_) => violations.add(path, "only mode ClientAndServer has it; remove it"),
        None if mode == "ClientAndServer" => violations.add(path, "the mode needs it"),
        None => {}
    }
}

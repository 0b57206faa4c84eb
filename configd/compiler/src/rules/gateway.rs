//! Rules of Gateways.

use std::collections::BTreeSet;

use super::Violations;
use super::listener::{listeners, namespaces_from};
use crate::api::CERTIFICATES_GROUP;
use crate::api::gateway::{FrontendTls, FrontendTlsConfig, GatewaySpec};
use crate::read::InvalidField;

pub(crate) fn gateway(spec: &GatewaySpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    violations.name("spec.gatewayClassName", &spec.gateway_class_name);
    violations.length("spec.listeners", &spec.listeners, 1, 64);
    violations.length("spec.addresses", &spec.addresses, 0, 16);
    listeners(&mut violations, &spec.listeners);
    if let Some(allowed) = &spec.allowed_listeners {
        let namespaces = allowed.namespaces.as_ref();
        let from = namespaces.and_then(|namespaces| namespaces.from.as_deref());
        namespaces_from(
            &mut violations,
            "spec.allowedListeners.namespaces.from",
            from,
        );
    }
    if let Some(frontend) = spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) {
        frontend_tls(&mut violations, frontend);
    }
    let scope = spec.default_scope.as_deref();
    let known = scope.is_none_or(|scope| matches!(scope, "All" | "None"));
    violations.require(known, "spec.defaultScope", "it must be All or None");
    let mut addresses = BTreeSet::new();
    for (index, address) in spec.addresses.iter().enumerate() {
        let field = format!("spec.addresses[{index}].value");
        let routability = address.routability.as_deref().unwrap_or_default();
        let good = matches!(routability, "" | "Cluster") || routability.contains('/');
        let message = "it must be Cluster, or a domain and a path";
        let path = format!("spec.addresses[{index}].routability");
        violations.require(good, &path, message);
        if address.value.is_empty() {
            continue;
        }
        if !addresses.insert((address.type_.as_str(), address.value.as_str())) {
            violations.add(&field, "the address stands here twice");
        }
        let is_ip = address.value.parse::<std::net::IpAddr>().is_ok();
        match address.type_.as_str() {
            "IPAddress" => violations.require(is_ip, &field, "it is not an IP address"),
            "Hostname" => violations.hostname(&field, &address.value),
            _ => {}
        }
    }
    violations.0
}

fn frontend_tls(violations: &mut Violations, frontend: &FrontendTls) {
    let field = "spec.tls.frontend";
    frontend_config(violations, &format!("{field}.default"), &frontend.default);
    violations.length(&format!("{field}.perPort"), &frontend.per_port, 0, 64);
    let mut ports = BTreeSet::new();
    for (index, own) in frontend.per_port.iter().enumerate() {
        let path = format!("{field}.perPort[{index}]");
        violations.port(&format!("{path}.port"), own.port);
        let message = format!("port {} stands here twice; join the two", own.port);
        violations.require(ports.insert(own.port), &format!("{path}.port"), &message);
        frontend_config(violations, &format!("{path}.tls"), &own.tls);
    }
}

fn frontend_config(violations: &mut Violations, field: &str, config: &FrontendTlsConfig) {
    let Some(validation) = &config.validation else {
        return;
    };
    let field = format!("{field}.validation");
    let references = &validation.ca_certificate_refs;
    violations.length(&format!("{field}.caCertificateRefs"), references, 1, 16);
    let known = matches!(
        validation.mode.as_str(),
        "AllowValidOnly" | "AllowInsecureFallback"
    );
    let message = "it must be AllowValidOnly or AllowInsecureFallback";
    violations.require(known, &format!("{field}.mode"), message);
    for (index, reference) in references.iter().enumerate() {
        let path = format!("{field}.caCertificateRefs[{index}]");
        violations.name(&format!("{path}.name"), &reference.name);
        violations.name(&format!("{path}.kind"), &reference.kind);
        let cluster_wide =
            reference.group == CERTIFICATES_GROUP && reference.kind == "ClusterTrustBundle";
        let good = !cluster_wide || reference.namespace.is_none();
        let message = "a ClusterTrustBundle has no namespace; remove it";
        violations.require(good, &format!("{path}.namespace"), message);
    }
}

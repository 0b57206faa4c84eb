//! The rules that Kubernetes checks beyond the types of fields: bounds, patterns and CEL rules of v1.7.

mod backend_policy;
mod backend_tls;
mod http_filter;
mod http_route;
mod policy_targets;
mod session;
mod traffic_policy;
mod x_backend;

use std::collections::BTreeSet;

use tidegate_ir::Hostname;

use crate::api::gateway::{GatewayClassSpec, GatewaySpec, Listener};
use crate::api::reference_grant::ReferenceGrantSpec;
use crate::read::InvalidField;

pub(crate) use backend_policy::backend_policy;
pub(crate) use backend_tls::backend_tls_policy;
pub(crate) use http_route::http_route;
pub(crate) use traffic_policy::traffic_policy;
pub(crate) use x_backend::x_backend;

/// Fields of one object that break a rule.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<InvalidField>);

impl Violations {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(InvalidField::new(path, message));
    }

    fn require(&mut self, holds: bool, path: &str, message: &str) {
        if !holds {
            self.add(path, message);
        }
    }

    fn length<T>(&mut self, path: &str, items: &[T], least: usize, most: usize) {
        if !(least..=most).contains(&items.len()) {
            let message = format!(
                "there are {} items, {least} to {most} are allowed",
                items.len()
            );
            self.add(path, message);
        }
    }

    fn name(&mut self, path: &str, name: &str) {
        let good = (1..=253).contains(&name.len());
        self.require(good, path, "a name has 1 to 253 characters");
    }

    fn port(&mut self, path: &str, port: u16) {
        self.require(port > 0, path, "a port is a number from 1 to 65535");
    }

    fn section_name(&mut self, path: &str, name: &str) {
        let message =
            "it must be a DNS name of at most 253 lower-case letters, digits, hyphens and dots";
        self.require(is_dns_subdomain(name), path, message);
    }

    /// A hostname, with an asterisk as its first label at most.
    fn hostname(&mut self, path: &str, text: &str) {
        let message = match Hostname::parse(text) {
            Err(error) => error.to_string(),
            Ok(Hostname::Any) => {
                "a hostname cannot be empty or *; leave it out to mean all".to_owned()
            }
            Ok(_) if text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                format!("{text:?} has upper-case letters; write it in lower case")
            }
            Ok(_) if text.parse::<std::net::IpAddr>().is_ok() => {
                format!("{text:?} is an IP address, not a hostname")
            }
            Ok(_) => return,
        };
        self.add(path, message);
    }

    fn precise_hostname(&mut self, path: &str, text: &str) {
        self.require(!text.starts_with('*'), path, "a wildcard cannot stand here");
        if !text.starts_with('*') {
            self.hostname(path, text);
        }
    }
}

fn is_dns_subdomain(name: &str) -> bool {
    let edge = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
    };
    name.len() <= 253 && name.split('.').all(label)
}

pub(crate) fn gateway_class(spec: &GatewayClassSpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    let (domain, path) = spec.controller_name.split_once('/').unwrap_or_default();
    let message = "it must be a domain and a path, such as tidegate.dev/gateway";
    let good = is_dns_subdomain(domain) && !path.is_empty();
    violations.require(good, "spec.controllerName", message);
    violations.0
}

pub(crate) fn gateway(spec: &GatewaySpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    violations.name("spec.gatewayClassName", &spec.gateway_class_name);
    violations.length("spec.listeners", &spec.listeners, 1, 64);
    violations.length("spec.addresses", &spec.addresses, 0, 16);
    let mut names = BTreeSet::new();
    for (index, item) in spec.listeners.iter().enumerate() {
        let field = format!("spec.listeners[{index}]");
        if !names.insert(item.name.as_str()) {
            let message = format!(
                "another listener is also named {}; names are unique",
                item.name
            );
            violations.add(format!("{field}.name"), message);
        }
        listener(&mut violations, &field, item);
    }
    let mut addresses = BTreeSet::new();
    for (index, address) in spec.addresses.iter().enumerate() {
        let field = format!("spec.addresses[{index}].value");
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

fn listener(violations: &mut Violations, field: &str, listener: &Listener) {
    violations.section_name(&format!("{field}.name"), &listener.name);
    violations.port(&format!("{field}.port"), listener.port);
    let protocol = listener.protocol.as_str();
    let good = (1..=255).contains(&protocol.len());
    violations.require(
        good,
        &format!("{field}.protocol"),
        "it has 1 to 255 characters",
    );
    let hostname = listener.hostname.as_deref().unwrap_or_default();
    if !hostname.is_empty() {
        let path = format!("{field}.hostname");
        let layer4 = matches!(protocol, "TCP" | "UDP");
        violations.require(
            !layer4,
            &path,
            "a TCP or UDP listener has no hostname; remove it",
        );
        violations.hostname(&path, hostname);
    }
    if let Some(tls) = &listener.tls {
        let path = format!("{field}.tls");
        let plain = matches!(protocol, "HTTP" | "TCP" | "UDP");
        let message = "HTTP, TCP and UDP listeners have no tls; remove it, or use HTTPS or TLS";
        violations.require(!plain, &path, message);
        let mode = tls.mode.as_deref().unwrap_or("Terminate");
        let known = matches!(mode, "Terminate" | "Passthrough");
        violations.require(
            known,
            &format!("{path}.mode"),
            "it must be Terminate or Passthrough",
        );
        if protocol == "HTTPS" {
            let message = "an HTTPS listener ends TLS; use Terminate";
            violations.require(mode == "Terminate", &format!("{path}.mode"), message);
        }
        let empty = tls.certificate_refs.is_empty() && tls.options.is_empty();
        let message = "mode Terminate needs certificateRefs";
        violations.require(mode != "Terminate" || !empty, &path, message);
        violations.length(
            &format!("{path}.certificateRefs"),
            &tls.certificate_refs,
            0,
            64,
        );
        for (index, reference) in tls.certificate_refs.iter().enumerate() {
            violations.name(
                &format!("{path}.certificateRefs[{index}].name"),
                &reference.name,
            );
        }
    }
    let allowed = listener.allowed_routes.as_ref();
    let from = allowed.and_then(|allowed| allowed.namespaces.as_ref()?.from.as_deref());
    let known = from.is_none_or(|from| matches!(from, "All" | "Selector" | "Same" | "None"));
    let path = format!("{field}.allowedRoutes.namespaces.from");
    violations.require(known, &path, "it must be All, Selector, Same or None");
    let kinds = allowed
        .and_then(|allowed| allowed.kinds.as_deref())
        .unwrap_or_default();
    violations.length(&format!("{field}.allowedRoutes.kinds"), kinds, 0, 8);
}

pub(crate) fn reference_grant(spec: &ReferenceGrantSpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    violations.length("spec.from", &spec.from, 1, 16);
    violations.length("spec.to", &spec.to, 1, 16);
    for (index, from) in spec.from.iter().enumerate() {
        violations.name(&format!("spec.from[{index}].kind"), &from.kind);
        violations.name(&format!("spec.from[{index}].namespace"), &from.namespace);
    }
    for (index, to) in spec.to.iter().enumerate() {
        violations.name(&format!("spec.to[{index}].kind"), &to.kind);
    }
    violations.0
}

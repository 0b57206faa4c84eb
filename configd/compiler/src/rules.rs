//! The rules that Kubernetes checks beyond the types of fields: bounds, patterns and CEL rules of v1.7.

mod backend_tls_policy;
mod cors;
mod external_auth;
mod gateway;
mod grpc_route;
mod http_filter;
mod http_route;
mod l4_route;
mod listener;
mod parameters;
mod policy;
mod session;
mod x_backend;

use std::collections::BTreeSet;

use tidegate_ir::Hostname;

use crate::api::gateway::GatewayClassSpec;
use crate::api::reference_grant::ReferenceGrantSpec;
use crate::duration;
use crate::read::InvalidField;

pub(crate) use backend_tls_policy::backend_tls_policy;
pub(crate) use gateway::gateway;
pub(crate) use grpc_route::grpc_route;
pub(crate) use http_route::http_route;
pub(crate) use l4_route::{port_route, tls_route};
pub(crate) use listener::listener_set;
pub(crate) use parameters::gateway_parameters;
pub(crate) use policy::{backend_policy, traffic_policy};
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

    fn duration(&mut self, path: &str, text: &str) -> Option<u64> {
        let ms = duration::parse_ms(text);
        let message = format!("{text:?} is not a duration; write one such as 500ms, 10s or 1h30m");
        self.require(ms.is_some(), path, &message);
        ms
    }

    /// A duration of a bounded length; what is left open is fine.
    fn duration_within(&mut self, path: &str, text: Option<&str>, least_ms: u64, most_ms: u64) {
        let Some(ms) = text.and_then(|text| self.duration(path, text)) else {
            return;
        };
        let hours = most_ms / 3_600_000;
        let message = format!("it is from {least_ms}ms to {hours}h");
        self.require((least_ms..=most_ms).contains(&ms), path, &message);
    }

    fn weight(&mut self, field: &str, weight: i64) {
        let good = (0..=1_000_000).contains(&weight);
        let message = "a weight is a number from 0 to 1000000";
        self.require(good, &format!("{field}.weight"), message);
    }

    fn number(&mut self, path: &str, number: Option<i64>, least: i64, most: i64) {
        let good = number.is_none_or(|number| (least..=most).contains(&number));
        let message = format!("it is a number from {least} to {most}");
        self.require(good, path, &message);
    }

    /// The name of a rule, which is unique inside its route.
    fn rule_name<'n>(&mut self, field: &str, name: Option<&'n str>, names: &mut BTreeSet<&'n str>) {
        let Some(name) = name else { return };
        let path = format!("{field}.name");
        self.section_name(&path, name);
        let message = format!("another rule is also named {name}; names are unique");
        self.require(names.insert(name), &path, &message);
    }

    /// `type` names the one field that is set, of those with their types and names.
    fn one_of_type(&mut self, path: &str, type_: &str, fields: &[(&str, &str, bool)]) {
        for (needed_by, field, is_set) in fields {
            if *is_set && type_ != *needed_by {
                let message = format!("{field} belongs to type {needed_by}, but type is {type_}");
                self.add(format!("{path}.{field}"), message);
            }
            if !is_set && type_ == *needed_by {
                self.add(path, format!("type {needed_by} needs the field {field}"));
            }
        }
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

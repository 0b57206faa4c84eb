//! Rules of GatewayParameters.

use std::collections::BTreeSet;

use super::Violations;
use crate::api::gateway_parameters::{
    ClientParameters, GatewayParametersSpec, LimitParameters, ProxyProtocolParameters,
};
use crate::api::quantity::Quantity;
use crate::parameters::network;
use crate::read::InvalidField;

/// One day, in milliseconds.
const DAY_MS: u64 = 86_400_000;

/// The longest a chain of proxies is believed: what stands further left is not looked at.
const HOPS_MAX: i64 = 32;

const CONNECTIONS_MAX: i64 = 10_000_000;

const MIB: u64 = 1 << 20;

pub(crate) fn gateway_parameters(spec: &GatewayParametersSpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    clients(&mut violations, &spec.clients);
    limits(&mut violations, &spec.limits);
    let sharing = spec.workers.sharing.as_deref();
    violations.require(
        matches!(sharing, None | Some("PerGateway" | "Shared")),
        "spec.workers.sharing",
        "it must be PerGateway or Shared",
    );
    violations.0
}

fn clients(violations: &mut Violations, clients: &ClientParameters) {
    let field = "spec.clients";
    let hops = format!("{field}.trustedHops");
    violations.number(&hops, clients.trusted_hops, 0, HOPS_MAX);
    if let Some(networks) = &clients.trusted_cidrs {
        let message = "trustedCIDRs says as well who is trusted; remove one of the two";
        violations.require(clients.trusted_hops.is_none(), &hops, message);
        let field = format!("{field}.trustedCIDRs");
        violations.length(&field, networks, 0, 64);
        for (index, text) in networks.iter().enumerate() {
            if let Err(message) = network(text) {
                violations.add(format!("{field}[{index}]"), message);
            }
        }
    }
    if let Some(proxy) = &clients.proxy_protocol {
        proxy_protocol(violations, proxy);
    }
}

fn proxy_protocol(violations: &mut Violations, proxy: &ProxyProtocolParameters) {
    let field = "spec.clients.proxyProtocol";
    let known = matches!(proxy.mode.as_str(), "Required" | "Disabled");
    violations.require(
        known,
        &format!("{field}.mode"),
        "it must be Required or Disabled",
    );
    violations.length(&format!("{field}.ports"), &proxy.ports, 0, 64);
    let mut known = BTreeSet::new();
    for (index, port) in proxy.ports.iter().enumerate() {
        let path = format!("{field}.ports[{index}]");
        violations.port(&path, *port);
        violations.require(known.insert(port), &path, "the port stands here twice");
    }
}

fn limits(violations: &mut Violations, limits: &LimitParameters) {
    let at = |name: &str| format!("spec.limits.{name}");
    let line = limits.request_line_bytes;
    size(violations, &at("requestLineBytes"), line, 256, MIB);
    size(
        violations,
        &at("headerBytes"),
        limits.header_bytes,
        1024,
        MIB,
    );
    violations.number(&at("headerCount"), limits.header_count, 1, 10_000);
    let times = [
        ("headerTimeout", &limits.header_timeout, 1),
        ("idleTimeout", &limits.idle_timeout, 1),
        ("requestTimeout", &limits.request_timeout, 0),
        ("handshakeTimeout", &limits.handshake_timeout, 1),
        ("writeStallTimeout", &limits.write_stall_timeout, 1),
    ];
    for (name, time, least_ms) in times {
        violations.duration_within(&at(name), time.as_deref(), least_ms, DAY_MS);
    }
    if let Some(pace) = &limits.body_pace {
        size(
            violations,
            &at("bodyPace.bytes"),
            Some(pace.bytes),
            0,
            1 << 30,
        );
        violations.duration_within(&at("bodyPace.period"), Some(&pace.period), 1, DAY_MS);
    }
    let (all, each) = (limits.connections, limits.connections_per_client);
    violations.number(&at("connections"), all, 1, CONNECTIONS_MAX);
    violations.number(&at("connectionsPerClient"), each, 0, CONNECTIONS_MAX);
}

fn size(violations: &mut Violations, path: &str, size: Option<Quantity>, least: u64, most: u64) {
    let good = size.is_none_or(|Quantity(bytes)| (least..=most).contains(&bytes));
    let message = format!("it is a number of bytes from {least} to {most}");
    violations.require(good, path, &message);
}

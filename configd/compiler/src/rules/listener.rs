//! Rules of listeners, in Gateways and in ListenerSets.

use std::collections::BTreeSet;

use super::Violations;
use super::external_auth::external_auth;
use crate::api::gateway::{Listener, ListenerFilters};
use crate::api::listener_set::ListenerSetSpec;
use crate::read::InvalidField;

pub(crate) fn listener_set(spec: &ListenerSetSpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    violations.name("spec.parentRef.name", &spec.parent_ref.name);
    violations.length("spec.listeners", &spec.listeners, 1, 64);
    listeners(&mut violations, &spec.listeners);
    violations.0
}

/// The listeners of one object: each by itself, and what tells them apart.
pub(super) fn listeners(violations: &mut Violations, listeners: &[Listener]) {
    let mut names = BTreeSet::new();
    let mut places = BTreeSet::new();
    for (index, item) in listeners.iter().enumerate() {
        let field = format!("spec.listeners[{index}]");
        let message = format!(
            "another listener is also named {}; names are unique",
            item.name
        );
        violations.require(
            names.insert(item.name.as_str()),
            &format!("{field}.name"),
            &message,
        );
        let hostname = item.hostname.as_deref().unwrap_or_default();
        let message = "another listener has the same port, protocol and hostname; give one of them another port or hostname";
        let is_new = places.insert((item.port, item.protocol.as_str(), hostname));
        violations.require(is_new, &field, message);
        listener(violations, &field, item);
    }
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
    let message = "a TLS listener needs tls; set its mode to Terminate or Passthrough";
    let good = protocol != "TLS" || listener.tls.is_some();
    violations.require(good, &format!("{field}.tls"), message);
    let allowed = listener.allowed_routes.as_ref();
    let from = allowed.and_then(|allowed| allowed.namespaces.as_ref()?.from.as_deref());
    namespaces_from(
        violations,
        &format!("{field}.allowedRoutes.namespaces.from"),
        from,
    );
    let kinds = allowed
        .and_then(|allowed| allowed.kinds.as_deref())
        .unwrap_or_default();
    violations.length(&format!("{field}.allowedRoutes.kinds"), kinds, 0, 8);
    if let Some(filters) = &listener.filters {
        let path = format!("{field}.filters");
        let http = matches!(protocol, "HTTP" | "HTTPS");
        violations.require(
            http,
            &path,
            "only HTTP and HTTPS listeners have filters; remove them",
        );
        listener_filters(violations, &format!("{path}.requests"), filters);
    }
}

fn listener_filters(violations: &mut Violations, field: &str, filters: &ListenerFilters) {
    violations.length(field, &filters.requests, 0, 16);
    for (index, filter) in filters.requests.iter().enumerate() {
        let path = format!("{field}[{index}]");
        let fields = [
            (
                "ExternalAuth",
                "externalAuth",
                filter.external_auth.is_some(),
            ),
            (
                "ExtensionRef",
                "extensionRef",
                filter.extension_ref.is_some(),
            ),
        ];
        violations.one_of_type(&path, &filter.type_, &fields);
        if let Some(auth) = &filter.external_auth {
            external_auth(violations, &format!("{path}.externalAuth"), auth);
        }
    }
}

pub(super) fn namespaces_from(violations: &mut Violations, path: &str, from: Option<&str>) {
    let known = from.is_none_or(|from| matches!(from, "All" | "Selector" | "Same" | "None"));
    violations.require(known, path, "it must be All, Selector, Same or None");
}

//! Rules of TLS to backends: of BackendTLSPolicies and of the validation in an XBackend.

use super::Violations;
use super::policy_targets::{policy_targets, sections_are_distinct};
use crate::api::backend_tls_policy::{
    BackendTlsPolicySpec, BackendTlsPolicyValidation, SubjectAltName,
};
use crate::read::InvalidField;

pub(crate) fn backend_tls_policy(spec: &BackendTlsPolicySpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    policy_targets(&mut violations, &spec.target_refs);
    sections_are_distinct(&mut violations, &spec.target_refs);
    validation(&mut violations, "spec.validation", &spec.validation);
    let few = spec.options.len() <= 16;
    violations.require(few, "spec.options", "there are more than 16 options");
    violations.0
}

/// Checks whom to trust, and as whom; `field` is the path of the validation.
pub(super) fn validation(
    violations: &mut Violations,
    field: &str,
    spec: &BackendTlsPolicyValidation,
) {
    let references = &spec.ca_certificate_refs;
    violations.length(&format!("{field}.caCertificateRefs"), references, 0, 8);
    for (index, reference) in references.iter().enumerate() {
        let field = format!("{field}.caCertificateRefs[{index}]");
        violations.name(&format!("{field}.name"), &reference.name);
        violations.name(&format!("{field}.kind"), &reference.kind);
    }
    let well_known = spec.well_known_ca_certificates.as_deref();
    let one = references.is_empty() == well_known.is_some();
    let message = "exactly one of caCertificateRefs and wellKnownCACertificates must be set";
    violations.require(one, field, message);
    if let Some(well_known) = well_known {
        let (domain, name) = well_known.split_once('/').unwrap_or_default();
        let good = well_known == "System" || (super::is_dns_subdomain(domain) && !name.is_empty());
        let path = format!("{field}.wellKnownCACertificates");
        violations.require(good, &path, "it must be System, or a domain and a name");
    }
    violations.precise_hostname(&format!("{field}.hostname"), &spec.hostname);
    let names = &spec.subject_alt_names;
    violations.length(&format!("{field}.subjectAltNames"), names, 0, 5);
    for (index, name) in names.iter().enumerate() {
        let field = format!("{field}.subjectAltNames[{index}]");
        subject_alt_name(violations, &field, name);
    }
}

fn subject_alt_name(violations: &mut Violations, field: &str, name: &SubjectAltName) {
    let is_empty = |text: &str| text.is_empty();
    match name.type_.as_str() {
        "Hostname" => {
            let path = format!("{field}.hostname");
            if is_empty(&name.hostname) {
                violations.add(path, "type Hostname needs it");
            } else {
                violations.hostname(&path, &name.hostname);
            }
            let message = "type Hostname has no uri; remove it";
            violations.require(is_empty(&name.uri), &format!("{field}.uri"), message);
        }
        "URI" => {
            let message = "it must be an absolute URI, such as spiffe://example.com/cart";
            let path = format!("{field}.uri");
            violations.require(is_absolute_uri(&name.uri), &path, message);
            let message = "type URI has no hostname; remove it";
            let path = format!("{field}.hostname");
            violations.require(is_empty(&name.hostname), &path, message);
        }
        _ => violations.add(format!("{field}.type"), "it must be Hostname or URI"),
    }
}

fn is_absolute_uri(text: &str) -> bool {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    text.len() <= 253
        && !scheme.is_empty()
        && !scheme.contains(['/', '?', '#', ':'])
        && !rest.is_empty()
}

//! Rules of BackendTLSPolicies, and of what an XBackend says about TLS.

use super::Violations;
use super::policy::targets;
use crate::api::backend_tls_policy::{BackendTlsPolicySpec, BackendTlsPolicyValidation};
use crate::read::InvalidField;

pub(crate) fn backend_tls_policy(spec: &BackendTlsPolicySpec) -> Vec<InvalidField> {
    let mut violations = Violations::default();
    targets(&mut violations, &spec.target_refs, true);
    validation(&mut violations, "spec.validation", &spec.validation);
    let message = "at most 16 options are allowed";
    violations.require(spec.options.len() <= 16, "spec.options", message);
    for (name, value) in &spec.options {
        let message = "a value has at most 4096 characters";
        violations.require(
            value.len() <= 4096,
            &format!("spec.options.{name}"),
            message,
        );
    }
    violations.0
}

pub(super) fn validation(
    violations: &mut Violations,
    field: &str,
    validation: &BackendTlsPolicyValidation,
) {
    let references = &validation.ca_certificate_refs;
    violations.length(&format!("{field}.caCertificateRefs"), references, 0, 8);
    for (index, reference) in references.iter().enumerate() {
        let path = format!("{field}.caCertificateRefs[{index}]");
        violations.name(&format!("{path}.name"), &reference.name);
        violations.name(&format!("{path}.kind"), &reference.kind);
    }
    let known = validation.well_known_ca_certificates.as_deref();
    let known = known.filter(|known| !known.is_empty());
    let named = known.is_none_or(|known| known == "System" || known.contains('/'));
    let at = format!("{field}.wellKnownCACertificates");
    violations.require(named, &at, "it must be System, or a domain and a name");
    let message = "it needs either caCertificateRefs or wellKnownCACertificates, and not both";
    violations.require(references.is_empty() == known.is_some(), field, message);
    violations.precise_hostname(&format!("{field}.hostname"), &validation.hostname);
    let names = &validation.subject_alt_names;
    violations.length(&format!("{field}.subjectAltNames"), names, 0, 5);
    for (index, name) in names.iter().enumerate() {
        let path = format!("{field}.subjectAltNames[{index}]");
        let known = matches!(name.type_.as_str(), "Hostname" | "URI");
        violations.require(known, &format!("{path}.type"), "it must be Hostname or URI");
        let fields = [
            ("Hostname", "hostname", !name.hostname.is_empty()),
            ("URI", "uri", !name.uri.is_empty()),
        ];
        violations.one_of_type(&path, &name.type_, &fields);
        if !name.hostname.is_empty() {
            violations.hostname(&format!("{path}.hostname"), &name.hostname);
        }
        let uri = name.uri.as_str();
        let absolute = uri.split_once("://").is_some_and(|(scheme, rest)| {
            !scheme.is_empty() && !scheme.contains(['/', '?', '#']) && !rest.is_empty()
        });
        let good = uri.is_empty() || (absolute && uri.len() <= 253);
        let message =
            "it is an absolute URI of at most 253 characters, such as spiffe://example.com/cart";
        violations.require(good, &format!("{path}.uri"), message);
    }
}

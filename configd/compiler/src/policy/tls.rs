//! TLS to backends: what the validation of a BackendTLSPolicy or an XBackend becomes (GEP-1897).

use std::sync::Arc;

use tidegate_ir::{BackendTls, Part, Security, SubjectAltName, Trust};

use crate::api::backend_tls_policy::{BackendTlsPolicySpec, BackendTlsPolicyValidation};
use crate::objects::{ObjectKey, Objects};
use crate::trust::{self, Trusted};

/// Options of this prefix would be ours.
const OWN_PREFIX: &str = "tidegate.dev/";

/// Reason and message of a condition.
pub(crate) type Problem = (&'static str, String);

/// What a validation leads to.
#[derive(Debug)]
pub(crate) struct Validated {
    pub(crate) security: Security,
    /// The parts that the security refers to.
    pub(crate) parts: Vec<Part>,
    /// Why nothing can be trusted, so that all requests fail.
    pub(crate) refused: Option<Problem>,
    /// The worst of the references that are invalid.
    pub(crate) unresolved: Option<Problem>,
    /// Field inside the spec, and message, of all that is wrong.
    pub(crate) findings: Vec<(String, String)>,
}

/// The security that a policy asks for.
pub(crate) fn of_policy(
    objects: &Objects,
    key: &ObjectKey,
    spec: &BackendTlsPolicySpec,
) -> Validated {
    let mut validated = of_validation(objects, key, "validation", &spec.validation);
    if let Some(option) = spec.options.keys().find(|name| is_ours(name)) {
        let message = format!("{option} is not known; remove it");
        validated.refuse(key, ("Invalid", format!("options: {message}")));
        let finding = ("options".to_owned(), message);
        validated.findings.push(finding);
    }
    validated
}

/// Options that are for other implementations.
pub(crate) fn foreign_options(spec: &BackendTlsPolicySpec) -> impl Iterator<Item = &str> {
    let names = spec.options.keys().map(String::as_str);
    names.filter(|name| !is_ours(name))
}

fn is_ours(option: &str) -> bool {
    option.starts_with(OWN_PREFIX) || !option.contains('/')
}

/// The security that a validation asks for; `field` is its path inside the spec of the object.
pub(crate) fn of_validation(
    objects: &Objects,
    key: &ObjectKey,
    field: &str,
    spec: &BackendTlsPolicyValidation,
) -> Validated {
    if let Some(well_known) = &spec.well_known_ca_certificates {
        if well_known == "System" {
            return Validated::trusting(spec, Trust::System, vec![]);
        }
        let field = format!("{field}.wellKnownCACertificates");
        let message = format!("{well_known} is not known; use System or caCertificateRefs");
        let mut broken = Validated::broken(key, ("Invalid", format!("{field}: {message}")));
        broken.findings.push((field, message));
        return broken;
    }
    let trusted = trust::resolve(objects, key, &spec.ca_certificate_refs);
    let name = trust::bundle_name(key, None);
    let mut validated = match trusted.bundle(name.clone()) {
        Some(bundle) => {
            Validated::trusting(spec, Trust::Bundle(name), vec![Part::TrustBundle(bundle)])
        }
        None => Validated::broken(key, ("NoValidCACertificate", all_invalid(field, &trusted))),
    };
    validated.unresolved = trusted.worst().map(|worst| {
        let field = format!("{field}.caCertificateRefs[{}]", worst.index);
        (
            worst.fault.policy_reason(),
            format!("{field}: {}", worst.message),
        )
    });
    let invalid = trusted.invalid.iter();
    let findings = invalid.map(|invalid| {
        let field = format!("{field}.caCertificateRefs[{}]", invalid.index);
        (field, invalid.message.clone())
    });
    validated.findings = findings.collect();
    validated
}

fn all_invalid(field: &str, trusted: &Trusted) -> String {
    let invalid = trusted.invalid.iter();
    let invalid = invalid.map(|invalid| {
        format!(
            "{field}.caCertificateRefs[{}]: {}",
            invalid.index, invalid.message
        )
    });
    let invalid: Vec<_> = invalid.collect();
    if invalid.is_empty() {
        return format!("{field} names no authority; set caCertificateRefs");
    }
    invalid.join(". ")
}

impl Validated {
    fn trusting(spec: &BackendTlsPolicyValidation, trust: Trust, parts: Vec<Part>) -> Self {
        let security = Security::Tls(BackendTls {
            server_name: Arc::from(spec.hostname.to_ascii_lowercase()),
            sans: sans(spec),
            trust,
            client_certificate: None,
        });
        Self {
            security,
            parts,
            refused: None,
            unresolved: None,
            findings: vec![],
        }
    }

    /// Lets all requests fail from the start.
    pub(crate) fn broken(key: &ObjectKey, problem: Problem) -> Self {
        let mut broken = Self {
            security: Security::Plain,
            parts: vec![],
            refused: None,
            unresolved: None,
            findings: vec![],
        };
        broken.refuse(key, problem);
        broken
    }

    /// Lets all requests fail.
    pub(crate) fn refuse(&mut self, key: &ObjectKey, problem: Problem) {
        self.security = Security::Broken(format!("{key} {}", problem.1).into());
        self.parts.clear();
        self.refused.get_or_insert(problem);
    }
}

fn sans(spec: &BackendTlsPolicyValidation) -> Vec<SubjectAltName> {
    let sans = spec
        .subject_alt_names
        .iter()
        .map(|san| match san.type_.as_str() {
            "URI" => SubjectAltName::Uri(Arc::from(san.uri.as_str())),
            _ => SubjectAltName::Dns(Arc::from(san.hostname.to_ascii_lowercase())),
        });
    let mut sans: Vec<_> = sans.collect();
    sans.sort();
    sans.dedup();
    sans
}

//! Certificates of HTTPS listeners, and of TLS listeners that end TLS.

use std::sync::Arc;

use tidegate_ir::PartName;

use crate::api::gateway as api;
use crate::api::meta::SecretObjectReference;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::grants::Reference;
use crate::objects::{ObjectKey, Objects, Parsed, Place};
use crate::secret::TlsSecret;

/// A certificate that a listener presents.
#[derive(Debug, Clone)]
pub(crate) struct CertificateUse {
    pub(crate) part_name: PartName,
    pub(crate) secret: Arc<Parsed<TlsSecret>>,
}

impl CertificateUse {
    /// Says so where the Secret is gone, and this is what it was last.
    pub(crate) fn outdated(&self) -> Option<String> {
        let secret = &self.secret;
        let message = || {
            format!(
                "Secret {} is deleted; create it again. Until then the certificate that it had is used",
                secret.name()
            )
        };
        secret.spec.is_deleted().then(message)
    }
}

/// The certificates of a listener, and the worst thing that is wrong with its references.
#[derive(Debug, Default)]
pub(crate) struct CertificateRefs {
    pub(crate) certificates: Vec<CertificateUse>,
    /// Reason and message of `ResolvedRefs`.
    pub(crate) problem: Option<(&'static str, String)>,
}

/// Follows the references of a listener.
pub(crate) fn resolve(
    objects: &Objects,
    holder: &ObjectKey,
    listener: &api::Listener,
    field: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> CertificateRefs {
    let mut resolved = CertificateRefs::default();
    let references = listener
        .tls
        .as_ref()
        .map_or(&[][..], |tls| &tls.certificate_refs);
    let mut report = |path: String, reason: &'static str, message: String| {
        let code = match reason {
            "RefNotPermitted" => &codes::CERTIFICATE_NOT_PERMITTED,
            _ => &codes::CERTIFICATE_REF,
        };
        let problem = (reason, format!("{path}: {message}"));
        diagnostics.push(Diagnostic::new(
            holder,
            format!("{field}.{path}"),
            code,
            message,
        ));
        // A missing permission comes before everything else, so that nothing leaks about what is there.
        match &resolved.problem {
            Some((before, _)) if *before == "RefNotPermitted" || reason != "RefNotPermitted" => {}
            _ => resolved.problem = Some(problem),
        }
    };
    if references.is_empty() {
        let message =
            "an HTTPS listener needs a certificate; add a reference to a kubernetes.io/tls Secret";
        report(
            "tls.certificateRefs".to_owned(),
            "InvalidCertificateRef",
            message.to_owned(),
        );
    }
    for (index, reference) in references.iter().enumerate() {
        match follow(objects, holder, reference) {
            Ok(used) => {
                if let Some(message) = used.outdated() {
                    let path = format!("tls.certificateRefs[{index}]");
                    report(path, "InvalidCertificateRef", message);
                }
                let known = resolved.certificates.iter();
                let mut known = known.filter(|known| known.part_name == used.part_name);
                if known.next().is_none() {
                    resolved.certificates.push(used);
                }
            }
            Err((reason, message)) => {
                report(format!("tls.certificateRefs[{index}]"), reason, message);
            }
        }
    }
    resolved
}

/// The certificate that a reference of `holder` leads to, or reason and message.
pub(crate) fn follow(
    objects: &Objects,
    holder: &ObjectKey,
    reference: &SecretObjectReference,
) -> Result<CertificateUse, (&'static str, String)> {
    let SecretObjectReference {
        group,
        kind,
        name,
        namespace,
    } = reference;
    let invalid = |message| ("InvalidCertificateRef", message);
    let own_namespace = &**holder.namespace();
    let namespace = namespace.as_deref().unwrap_or(own_namespace);
    let permission = Reference {
        source: holder.source(),
        from_group: holder.group(),
        from_kind: holder.kind(),
        from_namespace: own_namespace,
        to_group: group,
        to_kind: kind,
        to_namespace: namespace,
        to_name: name,
    };
    if !permission.is_permitted(objects) {
        let message = format!(
            "no ReferenceGrant in namespace {namespace} lets {}s of namespace {own_namespace} use {kind} {name}; create one there",
            holder.kind()
        );
        return Err(("RefNotPermitted", message));
    }
    if (group.as_str(), kind.as_str()) != ("", "Secret") {
        let message = format!(
            "{kind} of group {group:?} is not supported; refer to a Secret of the core group"
        );
        return Err(invalid(message));
    }
    let place = Place::new(holder.source(), namespace, name);
    let Some(secret) = objects.secrets.get(&place) else {
        return Err(invalid(format!(
            "Secret {} does not exist; create it",
            place.object
        )));
    };
    match secret.spec.key_pair() {
        Ok(_) => Ok(CertificateUse {
            part_name: format!("{}/{}", place.source, place.object).into(),
            secret: secret.clone(),
        }),
        Err(problem) => {
            let message = format!("Secret {} cannot be used: {problem}", place.object);
            Err(invalid(message))
        }
    }
}

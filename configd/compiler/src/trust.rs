//! Authorities that objects refer to: from caCertificateRefs to certificates that are trusted.

use std::sync::Arc;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tidegate_ir::{PartName, TrustBundle};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::api::CERTIFICATES_GROUP;
use crate::api::core::{ClusterTrustBundle, ConfigMap};
use crate::api::meta::{LocalObjectReference, ObjectReference};
use crate::grants::Reference;
use crate::objects::{ObjectKey, Objects, Place};

/// The certificates in an object, or why it is of no use.
#[derive(Debug)]
pub(crate) struct Authorities(Result<Vec<Bytes>, String>);

/// What the caCertificateRefs of an object lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trusted {
    /// Of all valid references, ordered, without duplicates; empty only if none is valid.
    certificates: Vec<Bytes>,
    /// In the order of the references.
    pub(crate) invalid: Vec<InvalidAuthority>,
}

/// A reference that leads to no authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidAuthority {
    /// Place in the list of references.
    pub(crate) index: usize,
    pub(crate) fault: AuthorityFault,
    /// One sentence that names the object and the way out, without the field.
    pub(crate) message: String,
}

/// What is wrong with a reference to an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthorityFault {
    /// It leads into another namespace without a ReferenceGrant there.
    NotPermitted,
    /// Neither ConfigMap nor ClusterTrustBundle.
    Kind,
    /// The object is not there, or holds no certificates.
    Content,
}

/// A reference to an authority, from an object of any kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuthorityReference<'a> {
    group: &'a str,
    kind: &'a str,
    name: &'a str,
    namespace: Option<&'a str>,
}

/// Follows the references of an object; `from` is the object that has them.
pub(crate) fn resolve<'a, R>(
    objects: &Objects,
    from: &ObjectKey,
    references: impl IntoIterator<Item = R>,
) -> Trusted
where
    AuthorityReference<'a>: From<R>,
{
    let mut trusted = Trusted {
        certificates: vec![],
        invalid: vec![],
    };
    for (index, reference) in references.into_iter().enumerate() {
        match AuthorityReference::from(reference).follow(objects, from) {
            Ok(certificates) => trusted.certificates.extend_from_slice(certificates),
            Err((fault, message)) => trusted.invalid.push(InvalidAuthority {
                index,
                fault,
                message,
            }),
        }
    }
    trusted.certificates.sort();
    trusted.certificates.dedup();
    trusted
}

impl Trusted {
    /// The part with that name; `None` if no reference is valid.
    pub(crate) fn bundle(&self, name: PartName) -> Option<TrustBundle> {
        let certificates = self.certificates.clone();
        (!certificates.is_empty()).then_some(TrustBundle { name, certificates })
    }

    /// The fault to report: a missing permission comes before everything else.
    pub(crate) fn worst(&self) -> Option<&InvalidAuthority> {
        let denied = |invalid: &&InvalidAuthority| invalid.fault == AuthorityFault::NotPermitted;
        let mut invalid = self.invalid.iter();
        invalid.clone().find(denied).or_else(|| invalid.next())
    }
}

impl AuthorityFault {
    /// The reason of `ResolvedRefs` on a policy.
    pub(crate) fn policy_reason(self) -> &'static str {
        match self {
            Self::NotPermitted => "RefNotPermitted",
            Self::Kind => "InvalidKind",
            Self::Content => "InvalidCACertificateRef",
        }
    }

    /// The reason of `ResolvedRefs` on a listener.
    pub(crate) fn listener_reason(self) -> &'static str {
        match self {
            Self::Kind => "InvalidCACertificateKind",
            Self::NotPermitted | Self::Content => self.policy_reason(),
        }
    }
}

impl AuthorityReference<'_> {
    fn follow<'o>(
        &self,
        objects: &'o Objects,
        from: &ObjectKey,
    ) -> Result<&'o [Bytes], (AuthorityFault, String)> {
        let (place, held) = match (self.group, self.kind) {
            (CERTIFICATES_GROUP, "ClusterTrustBundle") => {
                let place = Place::cluster_wide(from.source(), self.name);
                let held = objects.trust_bundles.get(&place);
                (place, held)
            }
            (group, kind) => {
                let place = self.permitted_place(objects, from)?;
                if (group, kind) != ("", "ConfigMap") {
                    let message = format!(
                        "{kind} of group {group:?} is not supported; refer to a ConfigMap or a ClusterTrustBundle"
                    );
                    return Err((AuthorityFault::Kind, message));
                }
                let held = objects.config_maps.get(&place);
                (place, held)
            }
        };
        let kind = self.kind;
        let name = match &*place.object.namespace {
            "" => place.object.name.to_string(),
            _ => place.object.to_string(),
        };
        let Some(held) = held else {
            let message = format!("{kind} {name} does not exist; create it or correct the name");
            return Err((AuthorityFault::Content, message));
        };
        held.spec.0.as_deref().map_err(|problem| {
            let message = format!("{kind} {name} cannot be used: {problem}");
            (AuthorityFault::Content, message)
        })
    }

    fn permitted_place(
        &self,
        objects: &Objects,
        from: &ObjectKey,
    ) -> Result<Place, (AuthorityFault, String)> {
        let own_namespace = &**from.namespace();
        let namespace = self.namespace.unwrap_or(own_namespace);
        let permission = Reference {
            source: from.source(),
            from_group: from.group(),
            from_kind: from.kind(),
            from_namespace: own_namespace,
            to_group: self.group,
            to_kind: self.kind,
            to_namespace: namespace,
            to_name: self.name,
        };
        if permission.is_permitted(objects) {
            return Ok(Place::new(from.source(), namespace, self.name));
        }
        let message = format!(
            "no ReferenceGrant in namespace {namespace} lets {}s of namespace {own_namespace} use {} {}; create one there",
            from.kind(),
            self.kind,
            self.name
        );
        Err((AuthorityFault::NotPermitted, message))
    }
}

impl<'a> From<&'a LocalObjectReference> for AuthorityReference<'a> {
    fn from(reference: &'a LocalObjectReference) -> Self {
        Self {
            group: &reference.group,
            kind: &reference.kind,
            name: &reference.name,
            namespace: None,
        }
    }
}

impl<'a> From<&'a ObjectReference> for AuthorityReference<'a> {
    fn from(reference: &'a ObjectReference) -> Self {
        Self {
            group: &reference.group,
            kind: &reference.kind,
            name: &reference.name,
            namespace: reference.namespace.as_deref(),
        }
    }
}

impl Authorities {
    pub(crate) fn of_config_map(object: &ConfigMap) -> Self {
        let Some(pem) = &object.data.authorities else {
            return Self(Err("it has no key ca.crt; add one with PEM".to_owned()));
        };
        Self(certificates(pem, "ca.crt"))
    }

    pub(crate) fn of_trust_bundle(object: &ClusterTrustBundle) -> Self {
        Self(certificates(&object.spec.trust_bundle, "spec.trustBundle"))
    }
}

/// All certificates of a PEM text; one that is broken spoils all, since nobody can tell what it was for.
fn certificates(pem: &str, field: &str) -> Result<Vec<Bytes>, String> {
    let blocks = CertificateDer::pem_slice_iter(pem.as_bytes());
    let blocks = blocks.collect::<Result<Vec<_>, _>>();
    let blocks = blocks.map_err(|error| format!("its {field} is not PEM: {error}"))?;
    if blocks.is_empty() {
        return Err(format!("its {field} has no PEM block of type CERTIFICATE"));
    }
    for (index, der) in blocks.iter().enumerate() {
        if !matches!(X509Certificate::from_der(der), Ok(([], _))) {
            let number = index + 1;
            return Err(format!(
                "certificate {number} of its {field} is no X.509 certificate"
            ));
        }
    }
    let blocks = blocks.iter();
    Ok(blocks.map(|der| Bytes::copy_from_slice(der)).collect())
}

/// Name of a bundle: that of the object whose references it comes from, with a section where one object has several.
pub(crate) fn bundle_name(from: &ObjectKey, section: Option<&str>) -> PartName {
    let (source, kind) = (from.source(), from.kind());
    let (namespace, name) = (from.namespace(), from.name());
    let name: Arc<str> = match section {
        Some(section) => format!("{source}/{kind}/{namespace}/{name}/{section}").into(),
        None => format!("{source}/{kind}/{namespace}/{name}").into(),
    };
    name
}

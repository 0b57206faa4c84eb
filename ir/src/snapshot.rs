//! A whole configuration of a pool.

use std::sync::Arc;

use crate::manifest::manifest_digest;
use crate::{
    Difference, Digest, EncodedPart, Manifest, Part, PartKey, PartKind, PartName, PersistentMap,
};

/// The parts that a pool's workers serve; never changed once made. Copies and later versions share what did not change.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The pool whose chain it belongs to.
    pub pool: Arc<str>,
    /// Tells the chain from one that began anew after its history was lost; the greater one is newer.
    pub epoch: i64,
    /// Place in the chain, from 1.
    pub version: u64,
    parts: PersistentMap<PartKey, EncodedPart>,
}

/// A reference from one part to another that the snapshot does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{from} refers to {to}, which the snapshot does not have")]
pub struct Dangling {
    /// The part that refers.
    pub from: PartKey,
    /// The part that is missing.
    pub to: PartKey,
}

impl Snapshot {
    /// Joins parts; the last one wins where two have the same key.
    pub fn new(
        pool: impl Into<Arc<str>>,
        version: u64,
        parts: impl IntoIterator<Item = EncodedPart>,
    ) -> Self {
        let parts = parts
            .into_iter()
            .map(|part| (part.key().clone(), part))
            .collect();
        Self {
            pool: pool.into(),
            epoch: 0,
            version,
            parts,
        }
    }

    /// The next version: without the parts that are `removed`, and with those that are `put`.
    #[must_use]
    pub fn next<'r>(
        &self,
        version: u64,
        removed: impl IntoIterator<Item = &'r PartKey>,
        put: impl IntoIterator<Item = EncodedPart>,
    ) -> Self {
        let mut parts = self.parts.clone();
        for key in removed {
            parts.remove(key);
        }
        parts.extend(put.into_iter().map(|part| (part.key().clone(), part)));
        Self {
            pool: self.pool.clone(),
            epoch: self.epoch,
            version,
            parts,
        }
    }

    /// The same snapshot as part of a chain other than the first.
    #[must_use]
    pub fn of_epoch(self, epoch: i64) -> Self {
        Self { epoch, ..self }
    }

    /// A part, if the snapshot has it.
    pub fn get(&self, key: &PartKey) -> Option<&EncodedPart> {
        self.parts.get(key)
    }

    /// The parts, ordered by kind and name.
    pub fn parts(&self) -> impl Iterator<Item = &EncodedPart> {
        self.parts.values()
    }

    /// The parts of one kind, ordered by name, without going through the others.
    pub fn parts_of(&self, kind: PartKind) -> impl Iterator<Item = &EncodedPart> {
        let parts = self.parts.range_from(&PartKey::new(kind, ""));
        let parts = parts.take_while(move |(key, _)| key.kind == kind);
        parts.map(|(_, part)| part)
    }

    /// The parts that are not the same in an older version, ordered by kind and name, without going through the others
    /// if this one was made of that one.
    pub fn since<'s>(&'s self, older: &'s Self) -> Vec<Difference<'s, PartKey, EncodedPart>> {
        let mut parts = self.parts.since(&older.parts);
        parts.retain(|(_, before, now)| before != now);
        parts
    }

    /// Number of parts.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there are no parts.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Digest of its manifest, without making one.
    pub fn digest(&self) -> Digest {
        manifest_digest(self.parts().map(|part| (part.key(), part.digest())))
    }

    /// The list of its parts.
    pub fn manifest(&self) -> Manifest {
        self.parts()
            .map(|part| (part.key().clone(), part.digest()))
            .collect()
    }

    /// Every reference that leads nowhere; none in what the compiler makes.
    ///
    /// # Errors
    /// Lists at most 100 of them.
    pub fn check_closed(&self) -> Result<(), Vec<Dangling>> {
        self.check_references_of(self.parts())
    }

    /// The same for some of its parts; enough where the others were checked before, and nothing has gone since.
    ///
    /// # Errors
    /// Lists at most 100 of them.
    pub fn check_references_of<'p>(
        &self,
        parts: impl Iterator<Item = &'p EncodedPart>,
    ) -> Result<(), Vec<Dangling>> {
        let references = |part: &EncodedPart| {
            let from = part.key().clone();
            part.part()
                .references()
                .into_iter()
                .map(move |to| Dangling {
                    from: from.clone(),
                    to,
                })
        };
        let dangling: Vec<_> = parts
            .flat_map(references)
            .filter(|reference| !self.parts.contains_key(&reference.to))
            // A worker that lacks keys, such as a reader of configuration, is still closed.
            .filter(|reference| reference.to.kind != PartKind::PrivateKey)
            .take(100)
            .collect();
        if dangling.is_empty() {
            Ok(())
        } else {
            Err(dangling)
        }
    }
}

/// Typed access; the key of a part decides its variant, so a wrong one cannot be found.
macro_rules! typed {
    ($($(#[$doc:meta])* $one:ident, $all:ident, $kind:ident);* $(;)?) => {
        impl Snapshot {
            $(
                $(#[$doc])*
                pub fn $one(&self, name: &PartName) -> Option<&crate::$kind> {
                    let key = PartKey::new(PartKind::$kind, name.clone());
                    match &**self.get(&key)?.part() {
                        Part::$kind(value) => Some(value),
                        _ => None,
                    }
                }

                /// All parts of that kind, ordered by name.
                pub fn $all(&self) -> impl Iterator<Item = &crate::$kind> {
                    self.parts_of(PartKind::$kind).filter_map(|part| -> Option<&crate::$kind> { match &**part.part() {
                        Part::$kind(value) => Some(value),
                        _ => None,
                    } })
                }
            )*
        }
    };
}

typed! {
    /// The listener with that name.
    listener, listeners, Listener;
    /// The route with that part name.
    route, routes, Route;
    /// The backend with that name.
    backend, backends, Backend;
    /// The endpoint set with that name.
    endpoint_set, endpoint_sets, EndpointSet;
    /// The certificate with that name.
    certificate, certificates, Certificate;
    /// The private key with that name.
    private_key, private_keys, PrivateKey;
    /// The trust bundle with that name.
    trust_bundle, trust_bundles, TrustBundle;
    /// The route of layer 4 with that part name.
    l4_route, l4_routes, L4Route;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, EndpointSet, ObjectName, PartKind};

    #[test]
    fn a_backend_without_its_endpoints_is_dangling() {
        let service = ObjectName::new("ns", "svc");
        let backend = Part::Backend(Box::new(Backend::of_service("e", service, 80)));
        let endpoints = Part::EndpointSet(EndpointSet {
            name: "e".into(),
            endpoints: vec![],
        });
        let backend = EncodedPart::encode(backend);
        let open = Snapshot::new("p", 1, [backend.clone()]);
        assert_eq!(
            open.check_closed(),
            Err(vec![Dangling {
                from: PartKey::new(PartKind::Backend, "e"),
                to: PartKey::new(PartKind::EndpointSet, "e"),
            }])
        );
        let closed = Snapshot::new("p", 1, [backend, EncodedPart::encode(endpoints)]);
        assert_eq!(closed.check_closed(), Ok(()));
        let set = PartKey::new(PartKind::EndpointSet, "e");
        let reopened = closed.next(2, [&set], []);
        assert_eq!((reopened.len(), reopened.version), (1, 2));
        assert!(reopened.check_closed().is_err());
        assert!(reopened.check_references_of(closed.parts()).is_err());
        assert_eq!(reopened.check_references_of([].iter()), Ok(()));
        let kinds = closed.parts_of(PartKind::EndpointSet);
        assert_eq!(kinds.map(EncodedPart::key).collect::<Vec<_>>(), [&set]);
        assert_eq!(
            closed.backend(&"e".into()).map(|backend| backend.port),
            Some(80)
        );
    }
}

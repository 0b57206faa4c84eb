//! The list of a snapshot's parts, and changes to it.

use std::collections::BTreeMap;

use prost::Message;
use tidegate_proto::ir::v1 as proto;

use crate::{Digest, PartKey};

/// Every part of a snapshot by name. Its digest names the snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    parts: BTreeMap<PartKey, Digest>,
}

/// What turns one manifest into another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestDelta {
    /// Parts that are new or have other bytes, ordered.
    pub put: Vec<(PartKey, Digest)>,
    /// Parts that are gone, ordered.
    pub removed: Vec<PartKey>,
}

impl Manifest {
    /// The digest of a part, if the snapshot has it.
    pub fn get(&self, key: &PartKey) -> Option<Digest> {
        self.parts.get(key).copied()
    }

    /// Number of parts.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there are no parts.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The parts, ordered by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = (&PartKey, Digest)> {
        self.parts.iter().map(|(key, digest)| (key, *digest))
    }

    /// The SHA-256 of the encoded `tidegate.ir.v1.Manifest`.
    pub fn digest(&self) -> Digest {
        let parts = self.iter().map(|(key, digest)| proto::PartRef {
            kind: key.kind.number(),
            name: key.name.to_string(),
            digest: digest.as_bytes().to_vec().into(),
        });
        Digest::of(
            &proto::Manifest {
                parts: parts.collect(),
            }
            .encode_to_vec(),
        )
    }

    /// Carries out a change.
    pub fn apply(&mut self, delta: &ManifestDelta) {
        for key in &delta.removed {
            self.parts.remove(key);
        }
        self.parts.extend(delta.put.iter().cloned());
    }

    /// The change that turns `self` into `target`.
    pub fn delta_to(&self, target: &Self) -> ManifestDelta {
        let changed = |(key, digest): &(&PartKey, Digest)| self.get(key) != Some(*digest);
        ManifestDelta {
            put: target
                .iter()
                .filter(changed)
                .map(|(key, digest)| (key.clone(), digest))
                .collect(),
            removed: self
                .parts
                .keys()
                .filter(|key| target.get(key).is_none())
                .cloned()
                .collect(),
        }
    }
}

impl ManifestDelta {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.removed.is_empty()
    }
}

impl FromIterator<(PartKey, Digest)> for Manifest {
    fn from_iter<I: IntoIterator<Item = (PartKey, Digest)>>(parts: I) -> Self {
        Self {
            parts: parts.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::PartKind;

    fn manifests() -> impl Strategy<Value = Manifest> {
        let part = ("[a-d]", any::<u8>()).prop_map(|(name, content)| {
            (
                PartKey::new(PartKind::Route, name),
                Digest::of(&[content % 3]),
            )
        });
        proptest::collection::vec(part, 0..6).prop_map(Manifest::from_iter)
    }

    proptest! {
        #[test]
        fn a_delta_turns_the_first_manifest_into_the_second(a in manifests(), b in manifests()) {
            let mut changed = a.clone();
            changed.apply(&a.delta_to(&b));
            prop_assert_eq!(&changed, &b);
            prop_assert_eq!(changed.digest(), b.digest());
            prop_assert_eq!(a.delta_to(&b).is_empty(), a == b);
        }
    }
}

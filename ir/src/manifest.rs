//! The list of a snapshot's parts, and changes to it.

use std::collections::BTreeMap;

use prost::encoding::{WireType, encode_key, encode_varint};
use sha2::{Digest as _, Sha256};

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
        manifest_digest(self.iter())
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

/// The digest of the manifest with these parts, which must come ordered by key. It hashes the encoding
/// of `tidegate.ir.v1.Manifest` part by part, because at 10,000 routes the whole has megabytes.
pub fn manifest_digest<'a>(parts: impl Iterator<Item = (&'a PartKey, Digest)>) -> Digest {
    let mut hasher = Sha256::new();
    let (mut body, mut entry) = (Vec::new(), Vec::new());
    for (key, digest) in parts {
        body.clear();
        encode_key(1, WireType::Varint, &mut body);
        encode_varint(u64::from(key.kind.number().unsigned_abs()), &mut body);
        for (tag, bytes) in [(2, key.name.as_bytes()), (3, &digest.as_bytes()[..])] {
            encode_key(tag, WireType::LengthDelimited, &mut body);
            encode_varint(bytes.len() as u64, &mut body);
            body.extend_from_slice(bytes);
        }
        entry.clear();
        encode_key(1, WireType::LengthDelimited, &mut entry);
        encode_varint(body.len() as u64, &mut entry);
        hasher.update(&entry);
        hasher.update(&body);
    }
    Digest::from_sha256(hasher.finalize().into())
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
    use prost::Message;
    use tidegate_proto::ir::v1 as proto;

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
        fn the_digest_is_over_the_encoded_message(manifest in manifests()) {
            let part = |(key, digest): (&PartKey, Digest)| proto::PartRef {
                kind: key.kind.number(),
                name: key.name.to_string(),
                digest: digest.as_bytes().to_vec().into(),
            };
            let message = proto::Manifest { parts: manifest.iter().map(part).collect() };
            prop_assert_eq!(manifest.digest(), Digest::of(&message.encode_to_vec()));
        }

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

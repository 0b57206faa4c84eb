//! A part of a snapshot, as a value and as bytes.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::wire::{self, InvalidPart};
use crate::{
    Backend, Certificate, Digest, EndpointSet, L4Route, Listener, PartKey, PartKind, PartName,
    PrivateKey, Route, SecretBytes, TrustBundle, Words,
};

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Part {
    /// A listener; in a box of its own, because most parts are routes, which are less than half its size.
    Listener(Box<Listener>),
    /// A route.
    Route(Route),
    /// A backend; in a box of its own, too.
    Backend(Box<Backend>),
    /// The addresses behind a backend.
    EndpointSet(EndpointSet),
    /// A certificate chain.
    Certificate(Certificate),
    /// A certificate's key.
    PrivateKey(PrivateKey),
    /// Certificates of authorities that are trusted.
    TrustBundle(TrustBundle),
    /// A route of connections or datagrams.
    L4Route(L4Route),
}

/// A part together with its only encoding. Whoever has one knows that value, bytes and digest agree.
#[derive(Debug, Clone)]
pub struct EncodedPart {
    key: PartKey,
    digest: Digest,
    bytes: Bytes,
    /// Opens the bytes, where they are sealed.
    opener: Option<SecretBytes>,
    part: Arc<Part>,
}

impl Part {
    /// What the part holds.
    pub fn kind(&self) -> PartKind {
        match self {
            Self::Listener(_) => PartKind::Listener,
            Self::Route(_) => PartKind::Route,
            Self::Backend(_) => PartKind::Backend,
            Self::EndpointSet(_) => PartKind::EndpointSet,
            Self::Certificate(_) => PartKind::Certificate,
            Self::PrivateKey(_) => PartKind::PrivateKey,
            Self::TrustBundle(_) => PartKind::TrustBundle,
            Self::L4Route(_) => PartKind::L4Route,
        }
    }

    /// Name of the part, unique within its kind.
    pub fn name(&self) -> PartName {
        match self {
            Self::Listener(listener) => listener.name.clone(),
            Self::Route(route) => route.part_name(),
            Self::Backend(backend) => backend.name.clone(),
            Self::EndpointSet(endpoints) => endpoints.name.clone(),
            Self::Certificate(certificate) => certificate.name.clone(),
            Self::PrivateKey(key) => key.name.clone(),
            Self::TrustBundle(bundle) => bundle.name.clone(),
            Self::L4Route(route) => route.part_name(),
        }
    }

    /// Kind and name.
    pub fn key(&self) -> PartKey {
        PartKey {
            kind: self.kind(),
            name: self.name(),
        }
    }

    /// The parts without which this one cannot be used.
    pub fn references(&self) -> Vec<PartKey> {
        match self {
            Self::Listener(listener) => listener.references(),
            Self::Route(route) => route.references(),
            Self::Backend(backend) => backend.references(),
            Self::Certificate(certificate) => {
                vec![PartKey::new(
                    PartKind::PrivateKey,
                    certificate.private_key.clone(),
                )]
            }
            Self::L4Route(route) => route.references(),
            Self::EndpointSet(_) | Self::PrivateKey(_) | Self::TrustBundle(_) => vec![],
        }
    }
}

impl From<Listener> for Part {
    fn from(listener: Listener) -> Self {
        Self::Listener(Box::new(listener))
    }
}

impl From<Backend> for Part {
    fn from(backend: Backend) -> Self {
        Self::Backend(Box::new(backend))
    }
}

impl EncodedPart {
    /// Encodes a part and names the bytes.
    pub fn encode(part: Part) -> Self {
        let bytes = Bytes::from(wire::encode(&part));
        Self {
            key: part.key(),
            digest: Digest::of(&bytes),
            bytes,
            opener: None,
            part: Arc::new(part),
        }
    }

    /// Reads a part back.
    ///
    /// # Errors
    /// The bytes must be a valid part of that kind.
    pub fn decode(kind: PartKind, bytes: Bytes) -> Result<Self, InvalidPart> {
        let part = wire::decode(kind, &bytes)?;
        Ok(Self {
            key: part.key(),
            digest: Digest::of(&bytes),
            bytes,
            opener: None,
            part: Arc::new(part),
        })
    }

    /// The same part, with the words of a route that other routes have as well lying in memory once.
    #[must_use]
    pub fn sharing(mut self, words: &mut Words) -> Self {
        // Of a part that somebody else has already, nothing changes.
        if let Some(Part::Route(route)) = Arc::get_mut(&mut self.part) {
            route.share_words(words);
        }
        self
    }

    /// The same part, stored and shipped as these sealed bytes, which `opener` opens. Whoever calls this has sealed
    /// or opened them.
    #[must_use]
    pub fn into_sealed(self, bytes: Bytes, opener: SecretBytes) -> Self {
        Self {
            digest: Digest::of(&bytes),
            bytes,
            opener: Some(opener),
            ..self
        }
    }

    /// What opens [`Self::bytes`], where they are sealed.
    pub fn opener(&self) -> Option<&SecretBytes> {
        self.opener.as_ref()
    }

    /// Kind and name.
    pub fn key(&self) -> &PartKey {
        &self.key
    }

    /// Digest of [`Self::bytes`].
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes that are stored and shipped.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The value.
    pub fn part(&self) -> &Arc<Part> {
        &self.part
    }
}

impl PartialEq for EncodedPart {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.digest == other.digest
    }
}

impl Eq for EncodedPart {}

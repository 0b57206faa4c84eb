//! What of the store is sealed, and by whom it is opened: the content of Secrets, and private keys as parts.

mod openers;
mod stored;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tidegate_compiler::Parts;
use tidegate_ir::{Digest, EncodedPart, PartKey, PartKind, SecretBytes};
use tidegate_proto::objects::v1::operation::Operation as Change;
use tidegate_proto::objects::v1::{Object, Operation};
use tidegate_runtime::seal::{self, OpenError, SealKeys};
use tidegate_store::StoredObject;

pub(crate) use openers::{Openers, OpenersError};

/// Sealed parts that are remembered, at most; beyond that all of them are sealed anew.
const REMEMBERED_MAX: usize = 20_000;

/// The master keys, if there are any; without them nothing is sealed. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sealing {
    keys: Option<Arc<Keys>>,
}

#[derive(Debug)]
struct Keys {
    keys: SealKeys,
    /// Sealed parts by the digests of their clear bytes, so that a round seals what is new to it.
    sealed: Mutex<HashMap<Digest, EncodedPart>>,
}

/// Why something that is stored cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be opened")]
pub(crate) struct Unreadable {
    /// "Secret shop/cert".
    what: String,
    #[source]
    source: OpenError,
}

impl Sealing {
    pub(crate) fn new(keys: Option<SealKeys>) -> Self {
        let keys = keys.map(|keys| Keys {
            keys,
            sealed: Mutex::default(),
        });
        Self {
            keys: keys.map(Arc::new),
        }
    }

    /// Seals an object that is about to be stored, if it is a Secret.
    pub(crate) fn seal_object(&self, object: &mut Object) {
        let key = object.key.as_ref();
        let is_secret = key.is_some_and(|key| key.group.is_empty() && key.kind == "Secret");
        if let Some(keys) = self.keys.as_ref().filter(|_| is_secret) {
            object.content = keys.keys.seal(&object.content).into();
        }
    }

    /// The same for the objects of changes.
    pub(crate) fn seal_operations(&self, operations: &mut [Operation]) {
        for operation in operations {
            if let Some(Change::Put(object)) = &mut operation.operation {
                self.seal_object(object);
            }
        }
    }

    /// The content of an object as its source sent it.
    pub(crate) fn open(&self, content: &Bytes) -> Result<Bytes, OpenError> {
        if !seal::is_sealed(content) {
            return Ok(content.clone());
        }
        match &self.keys {
            Some(keys) => keys.keys.open(content).map(Bytes::from),
            None => Err(OpenError::NoKey {
                id: seal::key_id(content)?,
            }),
        }
    }

    /// The same for a stored object.
    pub(crate) fn opened(&self, object: &StoredObject) -> Result<Bytes, Unreadable> {
        self.open(&object.content).map_err(|source| Unreadable {
            what: object.key.to_string(),
            source,
        })
    }

    /// Parts as they are stored: private keys sealed.
    pub(crate) fn as_stored(&self, parts: &Parts) -> Parts {
        let mut stored = parts.clone();
        let Some(keys) = &self.keys else {
            return stored;
        };
        // Parts are ordered by kind, so this does not walk through the others.
        let secret = parts.range_from(&PartKey::new(PartKind::PrivateKey, ""));
        let secret = secret.take_while(|(key, _)| key.kind == PartKind::PrivateKey);
        stored.extend(secret.map(|(key, part)| (key.clone(), keys.sealed(part))));
        stored
    }
}

impl Keys {
    fn sealed(&self, part: &EncodedPart) -> EncodedPart {
        let mut sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sealed.get(&part.digest()) {
            return known.clone();
        }
        if sealed.len() >= REMEMBERED_MAX {
            sealed.clear();
        }
        let bytes = Bytes::from(self.keys.seal(part.bytes()));
        let opener = self.keys.opener(&bytes);
        let opener = opener.expect("it was sealed a moment ago");
        let opener = SecretBytes::new(opener.expose().to_vec());
        let made = part.clone().into_sealed(bytes, opener);
        sealed.insert(part.digest(), made.clone());
        made
    }
}

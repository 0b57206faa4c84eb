//! What of the store is sealed, and by whom it is opened: the content of Secrets, and private keys as parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_ir::{EncodedPart, PartKey, PartKind, SecretBytes};
use tidegate_proto::objects::v1::operation::Operation as Change;
use tidegate_proto::objects::v1::{Object, Operation};
use tidegate_proto::raft::v1::PutObjects;
use tidegate_proto::snapshots::v1::Opener;
use tidegate_runtime::seal::{self, OpenError, SealKeys};
use tidegate_store::{Command, ObjectFilter, Outcome, Store, StoreError, StoredObject};
use tracing::info;

use crate::name;

/// The master keys, if there are any; without them nothing is sealed. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sealing {
    keys: Option<Arc<SealKeys>>,
}

/// Why a sealed object is not readable.
#[derive(Debug, thiserror::Error)]
#[error("{object} cannot be opened")]
pub(crate) struct Unreadable {
    object: String,
    #[source]
    source: OpenError,
}

impl Sealing {
    pub(crate) fn new(keys: Option<SealKeys>) -> Self {
        Self {
            keys: keys.map(Arc::new),
        }
    }

    /// Seals an object that is about to be stored, if it is a Secret.
    pub(crate) fn seal_object(&self, object: &mut Object) {
        let key = object.key.as_ref();
        let is_secret = key.is_some_and(|key| key.group.is_empty() && key.kind == "Secret");
        if let Some(keys) = self.keys.as_ref().filter(|_| is_secret) {
            object.content = keys.seal(&object.content).into();
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
        self.keys()?.open(content).map(Bytes::from)
    }

    /// The same for a stored object.
    pub(crate) fn opened(&self, object: &StoredObject) -> Result<Bytes, Unreadable> {
        self.open(&object.content).map_err(|source| Unreadable {
            object: name::of(&object.key),
            source,
        })
    }

    /// The private keys among parts, as they are stored; nothing where nothing is sealed.
    pub(crate) fn seal_parts(
        &self,
        parts: &BTreeMap<PartKey, EncodedPart>,
    ) -> BTreeMap<PartKey, EncodedPart> {
        let Some(keys) = &self.keys else {
            return BTreeMap::new();
        };
        // Parts are ordered by kind, so this does not walk through the others.
        let first = PartKey::new(PartKind::PrivateKey, "");
        let secret = parts.range(first..);
        let secret = secret.take_while(|(key, _)| key.kind == PartKind::PrivateKey);
        let sealed = |(key, part): (&PartKey, &EncodedPart)| {
            let bytes = Bytes::from(keys.seal(part.bytes()));
            let opener = keys.opener(&bytes).expect("it was sealed a moment ago");
            let opener = SecretBytes::new(opener.expose().to_vec());
            (key.clone(), part.clone().into_sealed(bytes, opener))
        };
        secret.map(sealed).collect()
    }

    /// What a worker needs to open a part; `None` where it is not sealed.
    pub(crate) fn opener(
        &self,
        digest: &Bytes,
        content: &Bytes,
    ) -> Result<Option<Opener>, OpenError> {
        if !seal::is_sealed(content) {
            return Ok(None);
        }
        let opener = self.keys()?.opener(content)?;
        Ok(Some(Opener {
            digest: digest.clone(),
            key: opener.expose().to_vec().into(),
        }))
    }

    /// Whether every stored Secret can be read.
    pub(crate) fn check(&self, store: &Store) -> Result<(), Unreadable> {
        secrets(store).try_for_each(|object| self.opened(&object).map(drop))
    }

    /// Seals the stored Secrets that are not sealed by the newest key; only a leader can. What a source changes
    /// meanwhile is left to its next write.
    pub(crate) async fn renew(&self, store: &Store) -> Result<(), StoreError> {
        let Some(keys) = &self.keys else {
            return Ok(());
        };
        let mut renewed = 0_u32;
        for stored in secrets(store).filter(|object| !keys.is_current(&object.content)) {
            // `check` has said why, before configd started.
            let Ok(content) = self.open(&stored.content) else {
                continue;
            };
            let outcome = store
                .propose(renewal(&stored, keys.seal(&content).into()))
                .await?;
            renewed += u32::from(matches!(outcome, Outcome::Applied { .. }));
        }
        if renewed > 0 {
            info!(
                secrets = renewed,
                "Stored Secrets were sealed by the newest key."
            );
        }
        Ok(())
    }

    fn keys(&self) -> Result<&SealKeys, OpenError> {
        let no_key = || OpenError::NoKey {
            id: "none is".to_owned(),
        };
        self.keys.as_deref().ok_or_else(no_key)
    }
}

/// The change that puts other content in the place of the stored one.
fn renewal(stored: &StoredObject, content: Bytes) -> Command {
    use tidegate_proto::objects::v1::{Precondition, precondition::Condition};
    let object = stored.to_proto().object.unwrap_or_default();
    let operation = Operation {
        operation: Some(Change::Put(Object { content, ..object })),
        precondition: Some(Precondition {
            condition: Some(Condition::Revision(stored.revision)),
        }),
    };
    Command::PutObjects(PutObjects {
        source: stored.key.source.clone(),
        operations: vec![operation],
        request_id: String::new(),
        reason: "sealed by the newest key".to_owned(),
    })
}

fn secrets(store: &Store) -> impl Iterator<Item = Arc<StoredObject>> {
    let filter = ObjectFilter {
        kind: "Secret".to_owned(),
        ..ObjectFilter::default()
    };
    let (_, objects) = store.objects(&filter);
    objects
        .into_iter()
        .filter(|object| object.key.group.is_empty())
}

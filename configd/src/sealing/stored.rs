//! What is stored already: whether the keys open it, and what the first key is still to seal.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_ir::{Digest, PartKind};
use tidegate_proto::objects::v1::operation::Operation as Change;
use tidegate_proto::objects::v1::{Object, Operation, Precondition, precondition::Condition};
use tidegate_proto::raft::v1::PutObjects;
use tidegate_runtime::seal::{self, OpenError};
use tidegate_store::{Command, ObjectFilter, Outcome, PartRef, Store, StoreError, StoredObject};
use tracing::info;

use super::{Sealing, Unreadable};

impl Sealing {
    /// Whether every stored Secret can be read, and every private key that workers may ask for now.
    pub(crate) fn check(&self, store: &Store) -> Result<(), Unreadable> {
        for object in secrets(store) {
            self.opened(&object)?;
        }
        for pool in store.pools() {
            for version in served(store, &pool) {
                let manifest = store.manifest(&pool, version).unwrap_or_default();
                let keys = manifest.iter().filter(|part| is_key(part));
                for part in keys {
                    let unreadable = |source| Unreadable {
                        what: format!("private key {} of snapshot {pool}/{version}", part.name),
                        source,
                    };
                    self.check_part(store, &part.digest).map_err(unreadable)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the keys open a part, if it is sealed. A part that cannot be read at all is the store's to report.
    pub(crate) fn check_part(&self, store: &Store, digest: &Digest) -> Result<(), OpenError> {
        match store.blob(digest) {
            Ok(bytes) if seal::is_sealed(&bytes) => self.open(&bytes).map(drop),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Seals the stored Secrets that are not sealed by the first key. What a source changes meanwhile is left to its
    /// next write.
    pub(crate) async fn renew(&self, store: &Store) -> Result<(), StoreError> {
        let Some(keys) = self.keys.as_ref().map(|keys| &keys.keys) else {
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
                "Stored Secrets were sealed by the first key."
            );
        }
        Ok(())
    }
}

/// The versions of a pool that a worker may be sent: the newest, and both sides of a rollout.
fn served(store: &Store, pool: &str) -> BTreeSet<u64> {
    let head = store.head(pool).map(|head| head.version);
    let marks = store.marks(pool);
    let rollout = marks.rollout.iter();
    let sides = rollout.flat_map(|rollout| [rollout.stable, rollout.canary]);
    head.into_iter().chain(sides).collect()
}

fn is_key(part: &PartRef) -> bool {
    part.kind == PartKind::PrivateKey.number()
}

/// The change that puts other content in the place of the stored one.
fn renewal(stored: &StoredObject, content: Bytes) -> Command {
    let object = stored.to_proto().object.unwrap_or_default();
    let operation = Operation {
        operation: Some(Change::Put(Object { content, ..object })),
        precondition: Some(Precondition {
            condition: Some(Condition::Revision(stored.revision)),
        }),
    };
    Command::PutObjects(PutObjects {
        source: stored.key.source().to_string(),
        operations: vec![operation],
        request_id: String::new(),
        reason: "sealed by the first key".to_owned(),
        base_revision: None,
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
        .filter(|object| object.key.group().is_empty())
}

//! What one subscribed worker is sent, and when.

use std::sync::Arc;

use tidegate_ir::Digest;
use tidegate_proto::ir::v1::Blob;
use tidegate_proto::snapshots::v1::{
    Bookmark, Opener, Resync, ResyncReason, SnapshotId, SubscribeResponse, Update,
    subscribe_response,
};
use tidegate_store::{PartChange, SnapshotMeta, Store, StoreError};
use tokio::sync::mpsc;

use super::bulk::{self, Bulk, Place};
use super::pieces::Pieces;
use super::whole::WholeSnapshots;
use crate::fleet::Fleet;
use crate::rollout::cohort;
use crate::sealing::{Openers, OpenersError};
use crate::wire;

/// What a session needs of its configd.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) openers: Openers,
    pub(crate) bulk: Bulk,
    pub(crate) whole: WholeSnapshots,
}

/// One worker's place in its pool's chain.
#[derive(Debug)]
pub(crate) struct Session {
    shared: Shared,
    pool: Arc<str>,
    /// The worker's name.
    worker: Arc<str>,
    /// What the worker serves; 0 for nothing.
    base: u64,
    /// The newest version that was sent, answered or not.
    sent: u64,
    /// Whether the newest sent version is still unanswered.
    unanswered: bool,
    /// Among those that are sent a lot, until this worker has answered.
    place: Option<Place>,
}

/// Why a worker's stream ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    /// The worker does not take any more messages.
    #[error("the worker has gone")]
    Gone,
    /// The worker answered a version that is not the one it was sent.
    #[error("the worker answered version {answered}, but version {sent} is the one it was sent")]
    WrongAnswer {
        /// The version in the answer.
        answered: u64,
        /// The version that waits for an answer.
        sent: u64,
    },
    /// The worker does not get what opens a sealed part.
    #[error("cannot send a private key of snapshot {pool}/{version}")]
    OpenPart {
        /// The pool.
        pool: Arc<str>,
        /// The version that was being sent.
        version: u64,
        /// Why not.
        #[source]
        source: OpenersError,
    },
    /// The bytes of a part could not be read.
    #[error("cannot read a part of snapshot {pool}/{version}")]
    ReadPart {
        /// The pool.
        pool: Arc<str>,
        /// The version that was being sent.
        version: u64,
        /// Why not.
        #[source]
        source: StoreError,
    },
}

type Outbox = mpsc::Sender<Result<SubscribeResponse, tonic::Status>>;

impl Session {
    /// A session that sends changes to `have` if the store still knows it, and says so if it does not.
    pub(crate) fn start(
        shared: Shared,
        (pool, worker): (Arc<str>, Arc<str>),
        have: Option<&SnapshotId>,
    ) -> (Self, Option<SubscribeResponse>) {
        let store = &shared.store;
        let have = have.filter(|have| have.version > 0);
        let (base, refused) = match have.map(|have| (have, resumable(store, &pool, have))) {
            None => (0, None),
            Some((have, _)) if is_ahead(store, &pool, have) => (have.version, None),
            Some((have, Ok(()))) => (have.version, None),
            Some((_, Err(reason))) => (0, Some(reason)),
        };
        let resync = refused.map(|reason| {
            message(subscribe_response::Message::Resync(Resync {
                reason: reason.into(),
            }))
        });
        (
            Self {
                shared,
                pool,
                worker,
                base,
                sent: base,
                unanswered: false,
                place: None,
            },
            resync,
        )
    }

    /// Takes the worker's answer to the version that was sent last.
    pub(crate) fn answered(
        &mut self,
        id: Option<&SnapshotId>,
        accepted: bool,
    ) -> Result<(), FeedError> {
        let answered = id.map_or(0, |id| id.version);
        if !self.unanswered || answered != self.sent {
            return Err(FeedError::WrongAnswer {
                answered,
                sent: self.sent,
            });
        }
        self.unanswered = false;
        self.place = None;
        if accepted {
            self.base = answered;
        }
        Ok(())
    }

    /// The version for this worker: the newest of its pool, or of its side of a rollout.
    fn target(&self) -> Option<Arc<SnapshotMeta>> {
        let marks = self.shared.store.marks(&self.pool);
        if marks.rollout.is_none() {
            return self.shared.store.head(&self.pool);
        }
        let connected = self.shared.fleet.list(&self.pool);
        let version = cohort::version_for(&marks, &self.pool, &self.worker, &connected)?;
        self.shared.store.meta(&self.pool, version)
    }

    /// Sends the newest version for this worker, if the worker has answered everything and has not seen it.
    pub(crate) async fn send_newest(&mut self, outbox: &Outbox) -> Result<(), FeedError> {
        while let Some(head) = self.target() {
            if self.unanswered || head.version <= self.sent {
                break;
            }
            // `None` is all of it.
            let changes = match self.base {
                0 => None,
                base => {
                    let changes = self.shared.store.delta(&self.pool, base, head.version);
                    if changes.is_none() {
                        self.begin_anew(outbox).await?;
                    }
                    changes
                }
            };
            let parts = changes.as_ref().map_or(head.parts as usize, Vec::len);
            if self.place.is_none() && bulk::needs_place(parts) {
                // A whole fleet may wait, and meanwhile another version become the newest.
                drop(changes);
                self.place = Some(self.shared.bulk.place().await);
                continue;
            }
            let mut place = self.place.take();
            let sending = async {
                match &changes {
                    Some(changes) => self.send(&head, changes, outbox).await,
                    None => self.send_whole(&head, outbox).await,
                }
            };
            bulk::holding(&mut place, sending).await?;
            self.place = place;
            self.sent = head.version;
            self.unanswered = true;
        }
        Ok(())
    }

    /// A sign of life.
    pub(crate) fn bookmark(&mut self) -> SubscribeResponse {
        self.place.take_if(|place| place.is_late());
        let newest = self.target().map(|head| wire::snapshot_id(&head));
        let none = || SnapshotId {
            pool: self.pool.to_string(),
            ..SnapshotId::default()
        };
        let newest = Some(newest.unwrap_or_else(none));
        message(subscribe_response::Message::Bookmark(Bookmark { newest }))
    }

    /// Says that the way from the worker's version is not known any more.
    async fn begin_anew(&mut self, outbox: &Outbox) -> Result<(), FeedError> {
        let reason = ResyncReason::Compacted.into();
        let resync = message(subscribe_response::Message::Resync(Resync { reason }));
        outbox.send(Ok(resync)).await.map_err(|_| FeedError::Gone)?;
        self.base = 0;
        Ok(())
    }

    async fn send_whole(&self, head: &SnapshotMeta, outbox: &Outbox) -> Result<(), FeedError> {
        let whole = self.shared.whole.get(head, || self.cut(head)).await?;
        for piece in whole.iter() {
            let mut piece = piece.clone();
            for blob in &piece.blobs {
                piece.openers.extend(self.opener(blob, head)?);
            }
            send_piece(piece, outbox).await?;
        }
        Ok(())
    }

    /// All of a version, without what only this worker gets.
    fn cut(&self, head: &SnapshotMeta) -> Result<Vec<Update>, FeedError> {
        let parts = self.shared.store.delta(&self.pool, 0, head.version);
        let (mut pieces, mut full) = (Pieces::new(wire::snapshot_info(head), 0), vec![]);
        for change in parts.unwrap_or_default() {
            let blob = change.after.map(|digest| self.blob(&digest, head));
            if let Ok(part) = wire::part_change(&change) {
                full.extend(pieces.put(part, blob.transpose()?, None));
            }
        }
        full.push(pieces.finish());
        Ok(full)
    }

    async fn send(
        &self,
        head: &SnapshotMeta,
        changes: &[PartChange],
        outbox: &Outbox,
    ) -> Result<(), FeedError> {
        let mut pieces = Pieces::new(wire::snapshot_info(head), self.base);
        for change in changes {
            let full = match wire::part_change(change) {
                Ok(part) => {
                    let blob = change.after.as_ref().map(|digest| self.blob(digest, head));
                    let blob = blob.transpose()?;
                    let opener = blob.as_ref().map(|blob| self.opener(blob, head));
                    pieces.put(part, blob, opener.transpose()?.flatten())
                }
                Err(key) => pieces.remove(key),
            };
            if let Some(piece) = full {
                send_piece(piece, outbox).await?;
            }
        }
        send_piece(pieces.finish(), outbox).await
    }

    fn opener(&self, blob: &Blob, head: &SnapshotMeta) -> Result<Option<Opener>, FeedError> {
        let opener = self.shared.openers.opener(&blob.digest, &blob.content);
        opener.map_err(|source| FeedError::OpenPart {
            pool: self.pool.clone(),
            version: head.version,
            source,
        })
    }

    fn blob(&self, digest: &Digest, head: &SnapshotMeta) -> Result<Blob, FeedError> {
        let content = self
            .shared
            .store
            .blob(digest)
            .map_err(|source| FeedError::ReadPart {
                pool: self.pool.clone(),
                version: head.version,
                source,
            })?;
        Ok(Blob {
            digest: digest.as_bytes().to_vec().into(),
            content,
        })
    }
}

/// Whether the worker has got from another replica what this one has still to apply. It hears nothing until then.
fn is_ahead(store: &Store, pool: &str, have: &SnapshotId) -> bool {
    store
        .head(pool)
        .is_some_and(|head| head.epoch == have.epoch && head.version < have.version)
}

/// Whether updates can be sent as changes to `have`.
fn resumable(store: &Store, pool: &str, have: &SnapshotId) -> Result<(), ResyncReason> {
    match store.meta(pool, have.version) {
        Some(meta) if *have == wire::snapshot_id(&meta) => Ok(()),
        Some(_) => Err(ResyncReason::UnknownBase),
        None if store
            .head(pool)
            .is_some_and(|head| head.epoch == have.epoch && head.version > have.version) =>
        {
            Err(ResyncReason::Compacted)
        }
        None => Err(ResyncReason::UnknownBase),
    }
}

async fn send_piece(piece: Update, outbox: &Outbox) -> Result<(), FeedError> {
    let piece = message(subscribe_response::Message::Update(piece));
    outbox.send(Ok(piece)).await.map_err(|_| FeedError::Gone)
}

fn message(message: subscribe_response::Message) -> SubscribeResponse {
    SubscribeResponse {
        message: Some(message),
    }
}

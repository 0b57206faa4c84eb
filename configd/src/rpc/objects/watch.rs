//! Streams what becomes of objects: the last change of each after a revision, and bookmarks to begin after next time.

mod outlet;

use std::time::Duration;

use prost::Message as _;
use tidegate_proto::objects::v1::{
    DeletedObject, ObjectEvent, WatchObjectsResponse, object_event::Event,
};
use tidegate_store::{ObjectChange, ObjectFilter, Store};
use tokio::sync::mpsc;
use tonic::Status;

use super::super::history::catch_up;
use super::redact;
use crate::error;
use crate::sealing::Sealing;
use outlet::{Closed, Outlet};

/// Messages that may wait for a reader.
const QUEUE_LEN_MAX: usize = 4;

/// Bytes of a message after which the next one begins.
const MESSAGE_LEN: usize = 1 << 20;

/// Time that a reader may take for a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between bookmarks while nothing matches.
const BOOKMARK: Duration = Duration::from_secs(5);

/// A watch that has begun.
#[derive(Debug)]
pub(super) struct Watch {
    store: Store,
    sealing: Sealing,
    filter: ObjectFilter,
    /// Everything up to here was sent.
    sent: u64,
    /// The last bookmark.
    told: u64,
    /// What is stored when the watch begins, where it begins with that.
    first: Option<Vec<ObjectChange>>,
}

impl Watch {
    /// Begins after a revision, or with what is stored.
    pub(super) async fn begin(
        (store, sealing): (Store, Sealing),
        filter: ObjectFilter,
        after: Option<u64>,
    ) -> Result<Self, Status> {
        catch_up(&store).await?;
        let (sent, first) = match after {
            None => {
                let (revision, objects) = store.objects(&filter);
                let mut first: Vec<_> = objects.into_iter().map(ObjectChange::Stored).collect();
                first.sort_by_key(ObjectChange::revision);
                (revision, Some(first))
            }
            Some(after) => {
                let newest = store.revision();
                if after > newest {
                    return Err(error::unknown_revision(after, newest));
                }
                store
                    .object_changes(&filter, after)
                    .map_err(|oldest| error::compacted(after, oldest))?;
                (after, None)
            }
        };
        Ok(Self {
            store,
            sealing,
            filter,
            sent,
            told: sent,
            first,
        })
    }

    /// The messages of the watch; the caller runs [`Watch::run`].
    pub(super) fn channel() -> (Outlet, mpsc::Receiver<Result<WatchObjectsResponse, Status>>) {
        Outlet::new(QUEUE_LEN_MAX, PATIENCE)
    }

    /// Sends until the reader goes, or falls too far behind.
    pub(super) async fn run(mut self, outlet: Outlet) {
        if let Err(Closed::Failed(status)) = self.send_all(&outlet).await {
            outlet.end(status);
        }
    }

    async fn send_all(&mut self, outlet: &Outlet) -> Result<(), Closed> {
        let mut revisions = self.store.watch_revision();
        let mut bookmark = tokio::time::interval(BOOKMARK);
        if let Some(first) = self.first.take() {
            self.send(outlet, first).await?;
        }
        loop {
            revisions.mark_unchanged();
            let changes = self.store.object_changes(&self.filter, self.sent);
            let (revision, changes) =
                changes.map_err(|oldest| Closed::Failed(error::compacted(self.sent, oldest)))?;
            self.sent = revision;
            if !changes.is_empty() {
                self.send(outlet, changes).await?;
            }
            tokio::select! {
                changed = revisions.changed() => changed.map_err(|_| Closed::Gone)?,
                _ = bookmark.tick() => {
                    if self.told != self.sent {
                        self.send(outlet, vec![]).await?;
                    }
                }
                () = outlet.closed() => return Err(Closed::Gone),
            }
        }
    }

    /// Sends changes that lead to the revision which is `sent`.
    async fn send(&mut self, outlet: &Outlet, changes: Vec<ObjectChange>) -> Result<(), Closed> {
        let mut message = WatchObjectsResponse::default();
        let mut len = 0;
        for change in changes {
            if len > MESSAGE_LEN {
                outlet.send(std::mem::take(&mut message)).await?;
                len = 0;
            }
            let event = event(&self.sealing, change);
            len += event.encoded_len();
            message.events.push(event);
        }
        message.revision = self.sent;
        self.told = self.sent;
        outlet.send(message).await
    }
}

fn event(sealing: &Sealing, change: ObjectChange) -> ObjectEvent {
    let event = match change {
        ObjectChange::Stored(object) => Event::Stored(redact::readable(sealing, object.to_proto())),
        ObjectChange::Gone { key, revision } => Event::Deleted(DeletedObject {
            key: Some(key.into()),
            revision,
        }),
    };
    ObjectEvent { event: Some(event) }
}

//! openraft's state machine: applies the log to the state in memory, and makes images of it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{Stream, StreamExt as _};
use openraft::{
    EntryPayload, OptionalSend,
    entry::RaftEntry as _,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
    type_config::alias::{SnapshotMetaOf, SnapshotOf},
};

use crate::{
    StoreError,
    command::{Command, Outcome},
    image::{Image, ImageFile, Images},
    level,
    raft::{Entry, LogId, Payload, StoredMembership, TypeConfig},
    views::Views,
};

/// The newest image and what it holds.
type Newest = (SnapshotMetaOf<TypeConfig>, ImageFile);

/// The state machine of one node. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) views: Arc<Views>,
    images: Images,
    newest: Arc<Mutex<Option<Newest>>>,
}

impl Machine {
    /// Starts from the views that were made of `newest`, if there is one.
    pub(crate) fn new(views: Arc<Views>, images: Images, newest: Option<ImageFile>) -> Self {
        let newest = newest.map(|file| (meta_of(&views.read()), file));
        Self {
            views,
            images,
            newest: Arc::new(Mutex::new(newest)),
        }
    }

    async fn apply_entry(&self, entry: Entry) -> io::Result<Outcome> {
        let at = entry.log_id();
        match entry.payload {
            EntryPayload::Blank => {
                self.views.update(|image| image.applied = Some(at));
                Ok(Outcome::None)
            }
            EntryPayload::Membership(membership) => {
                self.views.update(|image| {
                    image.applied = Some(at);
                    image.state.found_at(level::founded_at(&membership));
                    image.membership = StoredMembership::new(Some(at), membership);
                });
                Ok(Outcome::None)
            }
            EntryPayload::Normal(payload) => self.apply_command(at, payload).await,
        }
    }

    async fn apply_command(&self, at: LogId, payload: Payload) -> io::Result<Outcome> {
        let len = payload.bytes.len();
        let command = payload
            .take()
            .map_err(|why| io::Error::other(format!("log entry {}: {why}", at.index)))?;
        if let Command::RaiseLevel(raise) = &command {
            let known = self.views.levels.hear(raise.level);
            known.map_err(StoreError::into_io)?;
        }
        let views = self.views.clone();
        if command.blobs().is_empty() {
            return views.apply(at, len, &command).map_err(StoreError::into_io);
        }
        blocking(move || views.apply(at, len, &command)).await
    }

    fn set_newest(&self, meta: SnapshotMetaOf<TypeConfig>, file: ImageFile) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((meta, file));
    }
}

async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(run)
        .await
        .map_err(io::Error::other)?
        .map_err(StoreError::into_io)
}

pub(crate) fn meta_of(image: &Image) -> SnapshotMetaOf<TypeConfig> {
    SnapshotMetaOf::<TypeConfig> {
        last_log_id: image.applied,
        last_membership: image.membership.clone(),
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = ImageFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, ImageFile>> {
        // The clone shares the objects, so that applying does not wait for the disk.
        let image = self.views.read().clone();
        self.views.image_was_made();
        let meta = meta_of(&image);
        let (images, views) = (self.images.clone(), self.views.clone());
        let file = blocking(move || {
            views.blobs.sync_written()?;
            let file = images.write(&image)?;
            views.image_has(file.len()?);
            Ok(file)
        })
        .await?;
        self.set_newest(meta.clone(), file.clone());
        Ok(SnapshotOf::<TypeConfig, ImageFile> {
            meta,
            snapshot: file,
        })
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = ImageFile;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let image = self.views.read();
        Ok((image.applied, image.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let outcome = self.apply_entry(entry).await?;
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<TypeConfig>,
        file: ImageFile,
    ) -> io::Result<()> {
        let (images, views) = (self.images.clone(), self.views.clone());
        let (file, meta) = blocking(move || {
            let image = file.read()?;
            let file = images.write_received(&image)?;
            let meta = meta_of(&image);
            views.replace(image);
            // Nothing is applied meanwhile, so no pack is about to be named.
            views
                .blobs
                .retain(|pack| views.read().state.has_pack(pack))?;
            Ok((file, meta))
        })
        .await?;
        self.set_newest(meta, file);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<TypeConfig, ImageFile>>> {
        let newest = self
            .newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Ok(newest.map(|(meta, snapshot)| SnapshotOf::<TypeConfig, ImageFile> { meta, snapshot }))
    }
}

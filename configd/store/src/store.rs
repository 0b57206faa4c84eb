//! The store as the rest of configd sees it.

mod read;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use openraft::{
    BasicNode,
    errors::{ClientWriteError, RaftError},
};
use tokio::sync::watch;

use crate::{
    StoreError,
    blobs::Blobs,
    command::{Command, Outcome},
    directory::Directory,
    disk::{SledEngine, free_bytes},
    image::{Image, Images},
    log::Log,
    machine::Machine,
    peers::NoPeers,
    raft::{self, Payload, Raft},
    views::{Heads, Views},
};

/// Commands since the last image after which the next one is made, in bytes.
const IMAGE_BYTES: u64 = 64 << 20;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The data directory; created where it is missing.
    pub dir: PathBuf,
    /// Free space below which writes are refused, in bytes. A log that hits a full disk half-way cannot go on
    /// without a restart, so it stops before.
    pub free_bytes_min: u64,
    /// Log entries after which a state image is made.
    pub image_every: u64,
    /// How long opening may wait for the node to lead and to have applied its log.
    pub ready_timeout: Duration,
}

impl OpenOptions {
    /// The usual settings: 64 MiB kept free, an image every 5,000 entries, ready within 60 s.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let (free_bytes_min, image_every) = (64 << 20, 5_000);
        Self {
            dir: dir.into(),
            free_bytes_min,
            image_every,
            ready_timeout: Duration::from_secs(60),
        }
    }
}

/// Numbers for operators.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// This node.
    pub node_id: u64,
    /// Raft's term.
    pub term: u64,
    /// Index of the last log entry.
    pub last_log_index: Option<u64>,
    /// Index of the last applied entry.
    pub applied_index: Option<u64>,
    /// Index up to which an image exists.
    pub image_index: Option<u64>,
    /// Index up to which the log is gone.
    pub purged_index: Option<u64>,
    /// Number of stored objects.
    pub objects: usize,
    /// Number of stored parts.
    pub blobs: usize,
}

/// A node of the replicated store. Clones share it.
///
/// Reads answer from memory and do not wait; all but [`Store::blob`] never touch the disk.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Directory,
    free_bytes_min: u64,
    raft: Raft,
    log: Log,
    views: Arc<Views>,
    leader: watch::Receiver<bool>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.inner.directory.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store of one node, creates it where the directory is empty, and waits until everything that was
    /// ever acknowledged is applied and the node can write.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`], [`StoreError::OtherFormat`], [`StoreError::Damaged`] or a failed file operation.
    pub async fn open(options: OpenOptions) -> Result<Self, StoreError> {
        let started = Instant::now();
        let config = raft::config(options.image_every)?;
        let timeout = options.ready_timeout;
        let free_bytes_min = options.free_bytes_min;
        let opened = tokio::task::spawn_blocking(move || open_files(&options)).await;
        let files = opened.map_err(|error| StoreError::Stopped {
            reason: error.to_string(),
        })??;
        let Files {
            directory,
            log,
            machine,
        } = files;
        let (id, views) = (directory.identity.node_id, machine.views.clone());
        let raft = Raft::new(id, config, NoPeers, log.clone(), machine)
            .await
            .map_err(stopped)?;
        let leader = watch_leader(&raft);
        let store = Self {
            inner: Arc::new(Inner {
                directory,
                free_bytes_min,
                raft,
                log,
                views,
                leader,
            }),
        };
        store.lead(id, timeout).await.map_err(|error| match error {
            StoreError::NotReady { .. } => StoreError::NotReady {
                waited_ms: millis(started.elapsed()),
            },
            other => other,
        })?;
        store.inner.directory.note_log()?;
        store.remove_unused_packs().await?;
        Ok(store)
    }

    /// Appends a command to the log and returns what it came to, after it is on the disk and applied.
    ///
    /// A command that the state refuses is not an error but an [`Outcome`].
    ///
    /// # Errors
    ///
    /// [`StoreError::DiskFull`] before anything was written; [`StoreError::Stopped`] when a write failed, after
    /// which only reads work.
    pub async fn propose(&self, command: Command) -> Result<Outcome, StoreError> {
        if let Err(reason) = command.check() {
            return Ok(Outcome::Refused { reason });
        }
        self.check_space()?;
        let written = self
            .inner
            .raft
            .client_write(Payload(command.encode()))
            .await;
        if self.inner.views.bytes_since_image() > IMAGE_BYTES {
            self.inner.views.image_was_made();
            // Best effort: the next entries ask again.
            let _ = self.inner.raft.trigger().snapshot().await;
        }
        match written {
            Ok(response) => Ok(response.data),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                Err(StoreError::NotLeader {
                    leader: to.leader_id,
                })
            }
            Err(other) => Err(stopped(other)),
        }
    }

    /// Follows the revision.
    pub fn watch_revision(&self) -> watch::Receiver<u64> {
        self.inner.views.revision.subscribe()
    }

    /// Follows the newest version of every pool.
    pub fn watch_heads(&self) -> watch::Receiver<Heads> {
        self.inner.views.heads.subscribe()
    }

    /// Whether this node leads now.
    pub fn is_leader(&self) -> bool {
        *self.inner.leader.borrow()
    }

    /// Follows whether this node leads.
    pub fn watch_leader(&self) -> watch::Receiver<bool> {
        self.inner.leader.clone()
    }

    /// This node's id; it is never used for another one.
    pub fn node_id(&self) -> u64 {
        self.inner.directory.identity.node_id
    }

    /// The cluster's id: 32 hexadecimal digits, made when its first node was.
    pub fn cluster_id(&self) -> &str {
        &self.inner.directory.identity.cluster_id
    }

    /// Numbers for operators.
    pub fn metrics(&self) -> Metrics {
        use openraft::async_runtime::watch::WatchReceiver as _;
        let raft = self.inner.raft.metrics().borrow_watched().clone();
        let image = self.inner.views.read();
        Metrics {
            node_id: raft.id,
            term: raft.current_term,
            last_log_index: raft.last_log_index,
            applied_index: image.applied.map(|id| id.index),
            image_index: raft.snapshot.map(|id| id.index),
            purged_index: raft.purged.map(|id| id.index),
            objects: image.state.objects.len(),
            blobs: image.state.blobs.len(),
        }
    }

    /// Stops the node; everything acknowledged is on the disk. Reads still answer, proposals fail.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "the raft task ended badly");
        }
        self.inner.log.close().await;
    }

    async fn lead(&self, id: u64, timeout: Duration) -> Result<(), StoreError> {
        let raft = &self.inner.raft;
        let not_ready = |_| StoreError::NotReady {
            waited_ms: millis(timeout),
        };
        if !raft.is_initialized().await.map_err(stopped)? {
            let members = BTreeMap::from([(
                id,
                BasicNode {
                    addr: String::new(),
                },
            )]);
            raft.initialize(members).await.map_err(stopped)?;
        } else {
            // It is the only voter, so there is nobody to wait for.
            raft.trigger().elect(false).await.map_err(stopped)?;
        }
        raft.wait(Some(timeout))
            .current_leader(id, "the node leads")
            .await
            .map_err(not_ready)?;
        raft.wait_for_recovery(Some(timeout))
            .await
            .map_err(not_ready)?;
        Ok(())
    }

    async fn remove_unused_packs(&self) -> Result<(), StoreError> {
        let views = self.inner.views.clone();
        let removed = tokio::task::spawn_blocking(move || {
            views.blobs.retain(|pack| views.read().state.has_pack(pack))
        });
        removed.await.map_err(stopped)?
    }

    fn check_space(&self) -> Result<(), StoreError> {
        let (dir, needed) = (&self.inner.directory.path, self.inner.free_bytes_min);
        let free = free_bytes(dir).map_err(StoreError::io("ask for the free space of", dir))?;
        if free < needed {
            Err(StoreError::DiskFull {
                dir: dir.clone(),
                free,
                needed,
            })
        } else {
            Ok(())
        }
    }
}

struct Files {
    directory: Directory,
    log: Log,
    machine: Machine,
}

fn open_files(options: &OpenOptions) -> Result<Files, StoreError> {
    let directory = Directory::open(&options.dir)?;
    let images = Images::open(options.dir.join("images"))?;
    let (file, image) = images.newest()?.map_or_else(
        || (None, Image::default()),
        |(file, image)| (Some(file), image),
    );
    let blobs = Blobs::open(options.dir.join("blobs"))?;
    let path = options.dir.join("log");
    let log = Log::open(SledEngine::open(&path)?, &path)?;
    check_log(&directory, &log, image.applied.map(|id| id.index), &path)?;
    crate::directory::sync_dir(&options.dir)?;
    let machine = Machine::new(Arc::new(Views::new(image, blobs)), images, file);
    Ok(Files {
        directory,
        log,
        machine,
    })
}

/// A log that is shorter than what was made of it has lost entries.
fn check_log(
    directory: &Directory,
    log: &Log,
    image: Option<u64>,
    path: &Path,
) -> Result<(), StoreError> {
    let last = log.last_index();
    if last.is_none() && directory.had_log() {
        return Err(StoreError::damaged(
            path,
            "the log is empty, but this node has written one",
        ));
    }
    match image {
        Some(image) if last.is_none_or(|last| last < image) => {
            let last = last.map_or_else(|| "nothing".to_owned(), |last| format!("entry {last}"));
            let what = format!("the log ends with {last}, but there is an image of entry {image}");
            Err(StoreError::damaged(path, what))
        }
        _ => Ok(()),
    }
}

fn watch_leader(raft: &Raft) -> watch::Receiver<bool> {
    let mut metrics = raft.server_metrics();
    let (leads, leader) = watch::channel(false);
    // It ends with openraft's own tasks, when the store is shut down.
    #[allow(
        clippy::disallowed_methods,
        reason = "the store may not use the runtime crate, and the task ends with raft"
    )]
    tokio::spawn(async move {
        use openraft::async_runtime::watch::WatchReceiver as _;
        loop {
            let now = {
                let metrics = metrics.borrow_watched();
                metrics.current_leader == Some(metrics.id)
            };
            leads.send_if_modified(|before| std::mem::replace(before, now) != now);
            if metrics.changed().await.is_err() {
                leads.send_replace(false);
                return;
            }
        }
    });
    leader
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn stopped(error: impl std::fmt::Display) -> StoreError {
    StoreError::Stopped {
        reason: error.to_string(),
    }
}

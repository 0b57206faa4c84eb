//! Opens a store: who the node is, what is on its disk, then its Raft.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinHandle};

use super::{Inner, Store};
use crate::{
    StoreError,
    blobs::Blobs,
    directory::{Claim, Directory},
    disk::LogFiles,
    founding::{Founded, Founders},
    image::{Image, Images},
    level,
    log::{Log, Past},
    machine::Machine,
    member::Member,
    node::{Node, millis, stopped},
    options::{ClusterOptions, OpenOptions, Start},
    peers::{Desk, Dial, Network, PeerServer, PlainDial},
    raft::{self, Raft},
    steward::Steward,
    views::Views,
};

impl Store {
    /// Opens a store and creates it where the directory is empty.
    ///
    /// A node that is alone is ready when this returns: everything that was ever acknowledged is applied and it can
    /// write. A node of a cluster takes part in it from then on; [`Store::ready`] waits for the rest. With an empty
    /// directory the founders of a cluster wait for one another, without a limit.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`], [`StoreError::OtherFormat`], [`StoreError::Damaged`], [`StoreError::ClusterExists`],
    /// [`StoreError::Founding`] or a failed file operation.
    pub async fn open(options: OpenOptions) -> Result<Self, StoreError> {
        let OpenOptions {
            dir,
            free_bytes_min,
            image_every,
            segment_bytes,
            ready_timeout,
            highest_level,
            cluster,
        } = options;
        let opening = Opening {
            dir,
            free_bytes_min,
            segment_bytes,
            highest_level,
            config: raft::config(image_every)?,
        };
        match cluster {
            None => opening.alone(ready_timeout).await,
            Some(cluster) => opening.member(cluster).await,
        }
    }
}

struct Opening {
    dir: PathBuf,
    free_bytes_min: u64,
    segment_bytes: u64,
    highest_level: u32,
    config: Arc<openraft::Config>,
}

impl Opening {
    async fn alone(self, timeout: Duration) -> Result<Store, StoreError> {
        let started = Instant::now();
        let claim = take(self.dir.clone()).await?;
        let files = self.open_files(claim).await?;
        let id = files.directory.identity.node_id;
        let node = self.node(files, Arc::new(PlainDial)).await?;
        let store = store(node, None);
        store.lead(id, timeout).await.map_err(|error| match error {
            StoreError::NotReady { .. } => StoreError::NotReady {
                waited_ms: millis(started.elapsed()),
            },
            other => other,
        })?;
        store.inner.node.directory.note_log()?;
        store.inner.node.raise_level(&BTreeMap::new()).await;
        store.put_packs_in_order().await?;
        Ok(store)
    }

    async fn member(self, cluster: ClusterOptions) -> Result<Store, StoreError> {
        let ClusterOptions {
            member,
            incoming,
            dial,
            start,
        } = cluster;
        let level = self.highest_level;
        let member = Member { level, ..member };
        let mut claim = take(self.dir.clone()).await?;
        let desk = Desk::new(member.clone(), &claim);
        let server = PeerServer::start(incoming, desk.clone());
        let addresses = match start {
            Start::Found(addresses) => addresses,
            Start::Join => Vec::new(),
        };
        let founders = Founders {
            addresses: &addresses,
            dial: &*dial,
            dir: &self.dir,
        };
        let mut founded = None;
        if claim.identity.is_none() && addresses.is_empty() {
            claim = desk.wait_for_place(claim).await;
        } else if claim.identity.is_none() {
            founders.check(&member)?;
            if founders.founder_is(&member) {
                let found = founders.found(&member, None).await?;
                claim = settle(claim, found.identity.clone()).await?;
                founded = Some(found);
            } else {
                claim = tokio::select! {
                    biased;
                    claim = desk.wait_for_place(claim) => claim,
                    error = founders.watch_founder() => return Err(error),
                };
            }
        }
        let files = self.open_files(claim).await?;
        let identity = files.directory.identity.clone();
        desk.settle(&identity);
        let is_new = files.log.last_index().is_none();
        let node = self.node(files, dial.clone()).await?;
        desk.open(&node);
        if is_new && founders.founder_is(&member) {
            let Founded { members, .. } = match founded {
                Some(founded) => founded,
                None => founders.found(&member, Some(identity)).await?,
            };
            initialize(&node.raft, members).await?;
        }
        note_log_once_it_is(&node);
        let steward = Steward::start(&node, member);
        Ok(store(node, Some((server, steward))))
    }

    async fn node(&self, files: Files, dial: Arc<dyn Dial>) -> Result<Arc<Node>, StoreError> {
        let Files {
            directory,
            log,
            machine,
        } = files;
        let views = machine.views.clone();
        let identity = directory.identity.clone();
        let id = identity.node_id;
        let network = Network::new(identity, dial, &views);
        log.give_up_lead();
        let raft = Raft::new(
            id,
            self.config.clone(),
            network.clone(),
            log.clone(),
            machine,
        );
        Ok(Arc::new(Node {
            directory,
            free_bytes_min: self.free_bytes_min,
            raft: raft.await.map_err(stopped)?,
            log,
            views,
            network,
            disks: std::sync::Mutex::default(),
            joining: tokio::sync::Mutex::default(),
            removed: watch::Sender::new(false),
        }))
    }
}

impl Store {
    async fn lead(&self, id: u64, timeout: Duration) -> Result<(), StoreError> {
        let raft = &self.inner.node.raft;
        let not_ready = |_| StoreError::NotReady {
            waited_ms: millis(timeout),
        };
        if !raft.is_initialized().await.map_err(stopped)? {
            let level = self.inner.node.views.levels.highest;
            let alone = Member {
                level,
                ..Member::default()
            };
            initialize(raft, BTreeMap::from([(id, alone)])).await?;
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

    /// Removes the packs that nothing names, as a crash may leave some, and looks for those that something names.
    async fn put_packs_in_order(&self) -> Result<(), StoreError> {
        let views = self.inner.node.views.clone();
        let done = tokio::task::spawn_blocking(move || {
            views
                .blobs
                .retain(|pack| views.read().state.has_pack(pack))?;
            views.find_packs()
        });
        done.await.map_err(stopped)?
    }
}

fn store(node: Arc<Node>, member: Option<(PeerServer, JoinHandle<()>)>) -> Store {
    let leader = watch_leader(&node.raft);
    Store {
        inner: Arc::new(Inner {
            node,
            member: std::sync::Mutex::new(member),
            leader,
        }),
    }
}

async fn initialize(raft: &Raft, members: BTreeMap<u64, Member>) -> Result<(), StoreError> {
    if raft.is_initialized().await.map_err(stopped)? {
        return Ok(());
    }
    raft.initialize(members).await.map_err(stopped)
}

async fn take(dir: PathBuf) -> Result<Claim, StoreError> {
    let taken = tokio::task::spawn_blocking(move || Claim::take(&dir));
    taken.await.map_err(stopped)?
}

async fn settle(
    mut claim: Claim,
    identity: crate::directory::Identity,
) -> Result<Claim, StoreError> {
    let settled = tokio::task::spawn_blocking(move || claim.settle(identity).map(|()| claim));
    settled.await.map_err(stopped)?
}

struct Files {
    directory: Directory,
    log: Log,
    machine: Machine,
}

impl Opening {
    async fn open_files(&self, claim: Claim) -> Result<Files, StoreError> {
        let (segment_bytes, highest) = (self.segment_bytes, self.highest_level);
        let opened = tokio::task::spawn_blocking(move || {
            Files::open(claim.into_directory()?, segment_bytes, highest)
        });
        opened.await.map_err(stopped)?
    }
}

impl Files {
    fn open(directory: Directory, segment_bytes: u64, highest: u32) -> Result<Self, StoreError> {
        let dir = directory.path.clone();
        let images = Images::open(dir.join("images"))?;
        let (file, image) = images.newest(highest)?.map_or_else(
            || (None, Image::default()),
            |(file, image)| (Some(file), image),
        );
        let blobs = Blobs::open(dir.join("blobs"))?;
        let path = dir.join("log");
        let index = image.applied.map(|id| id.index);
        let past = Past {
            // The log is there before anything else is written or taken in.
            is_new: !directory.had_log() && file.is_none() && blobs.is_empty()?,
            received: index.filter(|index| images.was_received(*index)),
        };
        let log = Log::open(LogFiles::open(&dir)?, segment_bytes, past, &path)?;
        if past.received.is_none() {
            check_log(&directory, &log, index, &path)?;
        }
        level::check(log.level(), highest)?;
        check_images(&log, index, &dir.join("images"))?;
        crate::directory::sync_dir(&dir)?;
        let views = Arc::new(Views::new(image, blobs, highest));
        views.check_packs()?;
        let machine = Machine::new(views, images, file);
        Ok(Self {
            directory,
            log,
            machine,
        })
    }
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

/// Entries are only purged once an image contains them.
fn check_images(log: &Log, image: Option<u64>, path: &Path) -> Result<(), StoreError> {
    let purged = log.purged_index();
    if purged <= image {
        return Ok(());
    }
    let first = purged.unwrap_or_default() + 1;
    let image = image.map_or_else(
        || "there is none".to_owned(),
        |image| format!("the newest is of entry {image}"),
    );
    let what = format!(
        "the log begins with entry {first} and needs an image of those before, but {image}"
    );
    Err(StoreError::damaged(path, what))
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

/// Notes on the disk that the node has a log, as soon as it has: an empty one is then a lost one. The first entry comes before
/// the first vote, and with it nothing is attested yet.
fn note_log_once_it_is(node: &Arc<Node>) {
    let (weak, wait) = (Arc::downgrade(node), node.raft.wait(None));
    #[allow(
        clippy::disallowed_methods,
        reason = "the store may not use the runtime crate, and the task ends with raft"
    )]
    tokio::spawn(async move {
        let logged = wait.log_index_at_least(Some(1), "the node has a log").await;
        if logged.is_err() {
            return;
        }
        let noted = tokio::task::spawn_blocking(move || match weak.upgrade() {
            Some(node) => node.directory.note_log(),
            None => Ok(()),
        });
        if let Ok(Err(error)) = noted.await {
            tracing::error!(%error, "the log cannot be noted");
        }
    });
}

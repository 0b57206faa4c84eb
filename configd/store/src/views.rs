//! What readers share with the state machine: the state in memory, the parts, and the watches.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use crate::{
    StoreError,
    blobs::Blobs,
    changes::Changes,
    command::{Command, Outcome},
    image::Image,
    key::{ObjectChange, ObjectFilter, ObjectKey, StoredObject},
    level::{self, Levels},
    raft::LogId,
};

/// Bytes of commands since the last image after which the next one is made: so many, or so many times as many as the image has.
const IMAGE_BYTES: u64 = 64 << 20;
const IMAGES_OF_LOG: u64 = 2;

/// The newest version of every pool.
pub type Heads = Arc<BTreeMap<Arc<str>, u64>>;

/// The state in memory and the ways to follow it.
#[derive(Debug)]
pub(crate) struct Views {
    image: RwLock<Image>,
    changes: RwLock<Changes>,
    pub(crate) blobs: Blobs,
    pub(crate) levels: Arc<Levels>,
    pub(crate) revision: watch::Sender<u64>,
    pub(crate) heads: watch::Sender<Heads>,
    /// Counts the changes to what is said about versions.
    pub(crate) marks: watch::Sender<u64>,
    /// Bytes of the commands that were applied since the last image.
    bytes_since_image: AtomicU64,
    /// Bytes of the last image that this process has written.
    image_bytes: AtomicU64,
}

impl Views {
    /// Starts from an image; `highest` is the feature level that the node knows.
    pub(crate) fn new(image: Image, blobs: Blobs, highest: u32) -> Self {
        let levels = Levels::new(highest, level::told(image.state.level));
        let changes = Changes::starting_at(image.state.revision);
        let (revision, heads) = (image.state.revision, heads_of(&image));
        Self {
            image: RwLock::new(image),
            changes: RwLock::new(changes),
            blobs,
            levels: Arc::new(levels),
            revision: watch::Sender::new(revision),
            heads: watch::Sender::new(heads),
            marks: watch::Sender::new(0),
            bytes_since_image: AtomicU64::new(0),
            image_bytes: AtomicU64::new(0),
        }
    }

    /// The state; hold it shortly, nothing is applied meanwhile.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Image> {
        self.image.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is not the state: what is applied, and the membership.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Image)) {
        let level = {
            let mut image = self.write();
            change(&mut image);
            image.state.level
        };
        self.levels.reach(level);
    }

    /// The keys that changed after `revision`.
    pub(crate) fn changes_since(&self, revision: u64) -> Option<Vec<ObjectKey>> {
        self.changes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .since(revision)
    }

    /// What became of objects after `after`; where that is too long ago, the oldest revision that is not.
    pub(crate) fn object_changes(
        &self,
        filter: &ObjectFilter,
        after: u64,
    ) -> Result<(u64, Vec<ObjectChange>), u64> {
        let image = self.read();
        let state = &image.state;
        let gone = state.tombstones.since(after);
        let gone = gone.ok_or(state.tombstones.floor)?;
        let gone = gone.filter(|(_, key)| filter.matches(key) && !state.objects.contains_key(key));
        let gone = gone.map(|(revision, key)| (key, *revision));
        let gone: BTreeMap<&ObjectKey, u64> = gone.collect();
        let mut changes: Vec<ObjectChange> = gone
            .into_iter()
            .map(|(key, revision)| ObjectChange::Gone {
                key: key.clone(),
                revision,
            })
            .collect();
        let stored =
            |object: &&Arc<StoredObject>| object.revision > after && filter.matches(&object.key);
        // Going through the keys that changed lately is quicker, where they are all known.
        match self.changes_since(after) {
            Some(keys) => {
                let lately = keys.iter().filter_map(|key| state.objects.get(key));
                changes.extend(lately.filter(stored).cloned().map(ObjectChange::Stored));
            }
            None => {
                let all = state.objects.values().filter(stored);
                changes.extend(all.cloned().map(ObjectChange::Stored));
            }
        }
        changes.sort_by_key(ObjectChange::revision);
        Ok((state.revision, changes))
    }

    /// Carries out a command of the log. Its parts are in their file before anybody can see that they exist.
    /// Blocks where the command brings parts.
    pub(crate) fn apply(
        &self,
        at: LogId,
        len: usize,
        command: &Command,
    ) -> Result<Outcome, StoreError> {
        let has_parts = !command.blobs().is_empty() && command.check().is_ok();
        let fresh = match has_parts {
            true => self.read().state.fresh_blobs(command),
            false => Vec::new(),
        };
        if !fresh.is_empty() {
            self.blobs.write(at.index, &fresh)?;
        }
        let effects = {
            let mut image = self.write();
            image.applied = Some(at);
            let effects = image.state.apply(at.index, command);
            let changed = !effects.changed.is_empty();
            if changed {
                let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
                changes.push(at.index, effects.changed);
            }
            (
                effects.outcome,
                effects.released,
                image.state.has_pack(at.index),
                changed.then_some(image.state.revision),
            )
        };
        let (outcome, released, used, revision) = effects;
        released
            .into_iter()
            .for_each(|pack| self.blobs.remove(pack));
        if !fresh.is_empty() && !used {
            self.blobs.remove(at.index);
        }
        self.bytes_since_image
            .fetch_add(len as u64, Ordering::Relaxed);
        if let Some(revision) = revision {
            self.revision.send_replace(revision);
        }
        self.announce(command, &outcome);
        Ok(outcome)
    }

    /// Replaces everything, as after an image from another node.
    pub(crate) fn replace(&self, image: Image) {
        let (revision, heads) = (image.state.revision, heads_of(&image));
        *self.changes.write().unwrap_or_else(PoisonError::into_inner) =
            Changes::starting_at(revision);
        self.levels.reach(image.state.level);
        *self.write() = image;
        self.revision.send_replace(revision);
        self.heads.send_replace(heads);
        self.marks.send_modify(|count| *count += 1);
    }

    /// Holds the packs that are there against the names of their parts. Blocks.
    pub(crate) fn check_packs(&self) -> Result<(), StoreError> {
        let packs = self.read().state.parts_by_pack();
        for (pack, parts) in packs {
            // One that is gone may have been released by an entry that is applied again.
            self.blobs.holds(pack, &parts)?;
        }
        Ok(())
    }

    /// Looks for the packs that the state names, once it is the newest one. Blocks.
    pub(crate) fn find_packs(&self) -> Result<(), StoreError> {
        let named = self.read().state.packs();
        for pack in named {
            // In this order: it may be released meanwhile.
            if !self.blobs.has(pack) && self.read().state.has_pack(pack) {
                return Err(self.blobs.missing(pack));
            }
        }
        Ok(())
    }

    /// Whether the commands since the last image are many bytes: so many that writing images takes half of what writing the
    /// log does, at most.
    pub(crate) fn is_image_due(&self) -> bool {
        let since = self.bytes_since_image.load(Ordering::Relaxed);
        let image = self.image_bytes.load(Ordering::Relaxed);
        since > IMAGE_BYTES.max(IMAGES_OF_LOG * image)
    }

    /// Counts from here on.
    pub(crate) fn image_was_made(&self) {
        self.bytes_since_image.store(0, Ordering::Relaxed);
    }

    /// Notes how large the newest image is.
    pub(crate) fn image_has(&self, bytes: u64) {
        self.image_bytes.store(bytes, Ordering::Relaxed);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Image> {
        self.image.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, command: &Command, outcome: &Outcome) {
        let marked = matches!(command, Command::CommitSnapshot(commit)
            if commit.freeze.is_some() || commit.rollout.is_some() || commit.track != 0);
        match outcome {
            Outcome::Committed { .. } => {
                let heads = heads_of(&self.read());
                self.heads.send_replace(heads);
                if marked {
                    self.marks.send_modify(|count| *count += 1);
                }
            }
            Outcome::PoolChanged { .. } => self.marks.send_modify(|count| *count += 1),
            Outcome::Level(level) => self.levels.reach(*level),
            _ => {}
        }
    }
}

fn heads_of(image: &Image) -> Heads {
    let head = |(pool, history): (&Arc<str>, &crate::history::History)| {
        (pool.clone(), history.head_version())
    };
    Arc::new(image.state.pools.iter().map(head).collect())
}

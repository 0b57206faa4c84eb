//! How a store is opened.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    level::HIGHEST_LEVEL,
    member::Member,
    peers::{Dial, Incoming},
};

/// How to open a store.
#[derive(Debug)]
pub struct OpenOptions {
    /// The data directory; created where it is missing.
    pub dir: PathBuf,
    /// Free space below which writes are refused, in bytes. A log that hits a full disk half-way cannot go on
    /// without a restart, so it stops before.
    pub free_bytes_min: u64,
    /// Log entries after which a state image is made.
    pub image_every: u64,
    /// Bytes of a file of the log, unless one entry needs more. Files go whole once images contain their entries.
    pub segment_bytes: u64,
    /// How long opening a node that is alone may wait for it to lead and to have applied its log.
    pub ready_timeout: Duration,
    /// The highest feature level that the node takes part in. Less than [`HIGHEST_LEVEL`] makes it an older release, for tests
    /// of upgrades.
    pub highest_level: u32,
    /// How the node takes part in a cluster; `None` for one that is alone.
    pub cluster: Option<ClusterOptions>,
}

/// How a node takes part in a cluster.
#[derive(Debug)]
pub struct ClusterOptions {
    /// How it is called and reached.
    pub member: Member,
    /// What the others connect to.
    pub incoming: Incoming,
    /// How it reaches the others.
    pub dial: Arc<dyn Dial>,
    /// What an empty data directory becomes.
    pub start: Start,
}

/// What an empty data directory becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// One of the nodes that found a cluster. Their peer addresses, this one's among them, in the same order for all:
    /// the first one founds.
    Found(Vec<String>),
    /// A node that waits until [`Store::add_member`](crate::Store::add_member) gives it a place in a cluster.
    Join,
}

impl OpenOptions {
    /// The usual settings: 64 MiB kept free, an image every 20,000 entries, files of the log of 4 MiB, ready within 60 s,
    /// alone.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let (free_bytes_min, image_every) = (64 << 20, 20_000);
        Self {
            dir: dir.into(),
            free_bytes_min,
            image_every,
            segment_bytes: 4 << 20,
            ready_timeout: Duration::from_secs(60),
            highest_level: HIGHEST_LEVEL,
            cluster: None,
        }
    }
}

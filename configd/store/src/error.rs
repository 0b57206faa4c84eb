//! What can go wrong with a store, each with its way out.

use std::{io, path::PathBuf};

use tidegate_ir::Digest;

use crate::member::Member;

/// Why the store could not be opened, or could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried: "open", "sync".
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock of the data directory.
    #[error("data directory {} is in use by another tidegate process; stop it, or choose another directory", dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// The data directory was written in another format.
    #[error(
        "data directory {} has format version {found}, this tidegate reads version {wanted}; \
         use the tidegate that wrote it. To change over, make a backup with that one (`tidegate cluster backup`) and \
         restore it into an empty directory with this one (`tidegate cluster restore`)", dir.display()
    )]
    OtherFormat {
        /// The data directory.
        dir: PathBuf,
        /// The version that its IDENTITY file states.
        found: u64,
        /// The version that this build reads and writes.
        wanted: u64,
    },
    /// What is on the disk is not what was written.
    #[error(
        "{} is damaged: {what}; nothing was changed. Restore the data directory from a backup, or move it \
         away to start empty", path.display()
    )]
    Damaged {
        /// The damaged file or directory.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The cluster writes what this release does not know.
    #[error(
        "the cluster is at feature level {level}, this tidegate knows levels up to {highest}; nothing was changed. Run this \
         node with the release that it had before, or a newer one: a level never goes down. To go back for good, restore a \
         backup of before the upgrade (`tidegate cluster restore`)"
    )]
    LevelAbove {
        /// The cluster's level.
        level: u32,
        /// The highest that this release, or the node that takes part as an older one, knows.
        highest: u32,
    },
    /// Not every node of the cluster knows what was to be written.
    #[error(
        "this needs feature level {needed} of the cluster, which is at level {level}; nothing was written. Upgrade the \
         configds that know less (`tidegate cluster members`)"
    )]
    LevelBelow {
        /// The level that all nodes must know.
        needed: u32,
        /// The cluster's level.
        level: u32,
    },
    /// The file system has too little space for a write; reads go on.
    #[error(
        "the disk of {} is full: {free} bytes are free, {needed} are kept free for the log; nothing was \
         written. Free space and try again", dir.display()
    )]
    DiskFull {
        /// The data directory.
        dir: PathBuf,
        /// Free space in bytes.
        free: u64,
        /// Space that must be free for a write to begin, in bytes.
        needed: u64,
    },
    /// So many voters are short of space that no majority could confirm a write; reads go on.
    #[error(
        "the disks of {names} are full, and without them no majority confirms a write; nothing was written. Free space \
         there, or lower their --disk-reserve-mib"
    )]
    VotersFull {
        /// Which nodes.
        names: String,
    },
    /// A write failed half-way. Reads go on; writes need a restart, because what reached the disk is not known.
    #[error(
        "the store stopped writing: {reason}; free space or repair the disk, then restart tidegate"
    )]
    Stopped {
        /// The first failure.
        reason: String,
    },
    /// Only a leader that a quorum follows writes and answers linearizable reads. Nothing was written.
    #[error(
        "no node leads with a quorum behind it{}; nothing was written. Try again in a moment, or see \
         `tidegate cluster members`",
        hint.as_ref().map(|member| format!(", as far as this one knows; {member} may")).unwrap_or_default()
    )]
    NoLeader {
        /// Who may lead, where known.
        hint: Option<Member>,
    },
    /// A write was begun and nobody can say whether it will be carried out.
    #[error(
        "the write may or may not have been carried out: {reason}; read the objects, or send it again with the \
         same request id"
    )]
    Uncertain {
        /// What kept the answer away.
        reason: String,
    },
    /// The leader wrote nothing.
    #[error("the leader wrote nothing: {reason}")]
    NotWritten {
        /// Why not.
        reason: String,
    },
    /// The data directory is empty, but the cluster that it should help to found exists.
    #[error(
        "cluster {cluster_id} exists already, says {peer}, but data directory {} is empty. If its data was lost, \
         remove this node's old entry with `tidegate cluster remove` and start it with --join", dir.display()
    )]
    ClusterExists {
        /// The empty data directory.
        dir: PathBuf,
        /// Who says so.
        peer: String,
        /// The cluster.
        cluster_id: String,
    },
    /// A change of the membership that cannot be made. Nothing was changed.
    #[error("the cluster stays as it is: {reason}")]
    Membership {
        /// Why not.
        reason: String,
    },
    /// The node is none of its cluster's any more. Nothing was written.
    #[error(
        "node {node_id} was removed from its cluster and serves no more; ask another configd. To have it back, empty \
         its data directory and start it with --join"
    )]
    Removed {
        /// The node, whose id is never used again.
        node_id: u64,
    },
    /// A backup is only restored into an empty directory.
    #[error(
        "data directory {} holds a node already; choose an empty one", dir.display()
    )]
    NotEmpty {
        /// The data directory.
        dir: PathBuf,
    },
    /// The nodes that should found a cluster do not fit together.
    #[error("the cluster cannot be founded: {reason}")]
    Founding {
        /// What does not fit.
        reason: String,
    },
    /// No retained snapshot and no staged part has these bytes.
    #[error("no part with digest {digest} is stored")]
    NoBlob {
        /// The name of the bytes.
        digest: Digest,
    },
    /// The node did not become ready in time.
    #[error("the store was not ready after {waited_ms} ms")]
    NotReady {
        /// How long it was waited for.
        waited_ms: u64,
    },
}

impl StoreError {
    /// Wraps `source` with what was tried on which path.
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    /// States that the bytes at `path` are not those that were written.
    pub(crate) fn damaged(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.into(),
            what: what.into(),
        }
    }

    /// The error as openraft takes it: with the cause in the text, because its sources are not kept.
    pub(crate) fn into_io(self) -> io::Error {
        let text = match std::error::Error::source(&self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        io::Error::other(text)
    }
}

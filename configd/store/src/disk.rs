//! What the log asks of a storage engine, and sled as the engine, fenced against what it does not promise.
//!
//! sled's `flush` is no `fsync`, an unfinished `snap.*` file blocks its open, it panics on some damage, and values above
//! 8 KiB go to files that it never syncs. Each of these is dealt with here or by the frames of the log.

mod space;
mod witness;

use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{StoreError, directory::sync_dir};

pub use space::DiskSpace;
pub(crate) use space::blocking;
pub(crate) use witness::Witness;
use witness::WitnessFile;

/// Time for sled of a store that ended in this process to let its file go.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);

/// Keys and values, as an engine holds them: ordered by key.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// One change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    /// Store the value, of at most 8 KiB.
    Put(Vec<u8>, Vec<u8>),
    /// Remove the row; removing what is not there succeeds.
    Remove(Vec<u8>),
}

/// An ordered map on a disk. One thread owns it.
pub(crate) trait LogEngine: Send + 'static {
    /// Every row, ordered by key.
    fn rows(&mut self) -> Result<Vec<Row>, StoreError>;
    /// Carries out the batch, all of it or none. It need not be durable.
    fn write(&mut self, batch: Vec<Write>) -> Result<(), StoreError>;
    /// Returns when everything that was written is on the disk.
    fn sync(&mut self) -> Result<(), StoreError>;
    /// What was attested last, if anything ever was.
    fn witness(&mut self) -> Option<Witness>;
    /// Returns when the witness is on the disk, apart from the rows. What it attests must be synced before.
    fn attest(&mut self, witness: Witness) -> Result<(), StoreError>;
}

/// sled in a directory of its own.
#[derive(Debug)]
pub(crate) struct SledEngine {
    dir: PathBuf,
    db: sled::Db,
    /// An own descriptor of sled's file: `fdatasync` works on the file, whoever wrote to it.
    file: File,
    witness: WitnessFile,
}

impl SledEngine {
    /// Opens or creates the engine in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
        remove_unfinished_index(dir)?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(64 << 20)
            // No background thread: the log's one writer decides when what is written.
            .flush_every_ms(None);
        wait_for_lock(&dir.join("db"))?;
        let db = caught(dir, || config.open())?;
        let path = dir.join("db");
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(StoreError::io("open", &path))?;
        let engine = Self {
            dir: dir.to_owned(),
            db,
            file,
            witness: WitnessFile::open(dir)?,
        };
        engine.sync_names()?;
        Ok(engine)
    }

    fn sync_names(&self) -> Result<(), StoreError> {
        let conf = self.dir.join("conf");
        File::open(&conf)
            .and_then(|file| file.sync_all())
            .map_err(StoreError::io("sync", &conf))?;
        sync_dir(&self.dir)?;
        self.dir.parent().map_or(Ok(()), sync_dir)
    }

    /// Syncs the files that sled makes of large values. The log's rows are too small for that, so there are none.
    fn sync_large_values(&self) -> Result<(), StoreError> {
        let dir = self.dir.join("blobs");
        let Ok(entries) = fs::read_dir(&dir) else {
            return Ok(());
        };
        let mut found = false;
        for entry in entries {
            let path = entry.map_err(StoreError::io("list", &dir))?.path();
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(StoreError::io("sync", &path))?;
            found = true;
        }
        if found {
            tracing::warn!(dir = %dir.display(), "sled moved a row out of its log");
            sync_dir(&dir)?;
        }
        Ok(())
    }
}

impl LogEngine for SledEngine {
    fn rows(&mut self) -> Result<Vec<Row>, StoreError> {
        caught(&self.dir, || {
            let row = |row: sled::Result<(sled::IVec, sled::IVec)>| {
                row.map(|(key, value)| (key.to_vec(), value.to_vec()))
            };
            self.db.iter().map(row).collect()
        })
    }

    fn write(&mut self, batch: Vec<Write>) -> Result<(), StoreError> {
        caught(&self.dir, || {
            let mut changes = sled::Batch::default();
            for write in batch {
                match write {
                    Write::Put(key, value) => changes.insert(key, value),
                    Write::Remove(key) => changes.remove(key),
                }
            }
            self.db.apply_batch(changes)
        })
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        caught(&self.dir, || self.db.flush())?;
        self.file
            .sync_data()
            .map_err(StoreError::io("sync", self.dir.join("db")))?;
        self.sync_large_values()
    }

    fn witness(&mut self) -> Option<Witness> {
        self.witness.newest()
    }

    fn attest(&mut self, witness: Witness) -> Result<(), StoreError> {
        self.witness.attest(witness)
    }
}

/// Removes the index snapshot that sled was writing when it was killed: sled would take it for the newest one
/// and refuse to open.
///
/// A finished one stays. sled syncs it before it gets its name, and without it sled starts to read at its first
/// segment; once a purge has freed that one, sled finds nothing and opens as an empty database.
fn remove_unfinished_index(dir: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Waits until sled of a store that ended in this process has let its file go: it leaves tasks behind that hold the
/// lock a little longer. Another process cannot have it, because the data directory is locked.
fn wait_for_lock(path: &Path) -> Result<(), StoreError> {
    let Ok(file) = File::open(path) else {
        return Ok(());
    };
    let (done, locked) = mpsc::sync_channel(1);
    // A thread of its own, so that the wait has an end.
    let spawned = thread::Builder::new()
        .name("store-lock".to_owned())
        .spawn(move || {
            let locked = file.lock();
            // The lock goes with the file, before sled wants it.
            drop(file);
            let _ = done.send(locked);
        });
    spawned.map_err(StoreError::io("start a thread to lock", path))?;
    let locked = locked.recv_timeout(LOCK_DEADLINE);
    let locked = locked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    locked.map_err(StoreError::io("lock", path))
}

/// Runs sled so that neither its panics nor its errors leave this file undescribed.
fn caught<T>(dir: &Path, run: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(StoreError::io("access", dir)(error)),
        Ok(Err(sled::Error::Corruption { .. })) => {
            Err(StoreError::damaged(dir, "sled finds its file corrupt"))
        }
        // Its settings and its file are always of this release.
        Ok(Err(sled::Error::Unsupported(what))) => Err(StoreError::damaged(dir, what)),
        Ok(Err(error)) => Err(StoreError::io("access", dir)(io::Error::other(
            error.to_string(),
        ))),
        Err(_) => Err(StoreError::damaged(
            dir,
            "sled panicked while it read or wrote its file",
        )),
    }
}

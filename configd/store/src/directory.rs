//! The data directory: its lock, its identity, its format version.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::StoreError;

/// The format that this build reads and writes. 1 had another log.
pub(crate) const FORMAT_VERSION: u64 = 2;
/// The first node of a cluster.
pub(crate) const FIRST_NODE_ID: u64 = 1;
/// The epoch of a cluster that was never restored from a backup.
pub(crate) const FIRST_EPOCH: u64 = 1;

/// Who a node is; written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) format_version: u64,
    pub(crate) node_id: u64,
    /// 32 hexadecimal digits.
    pub(crate) cluster_id: String,
    /// Grows whenever the cluster is restored from a backup.
    #[serde(default = "first_epoch")]
    pub(crate) epoch: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub(crate) created_at_unix_ms: u64,
}

fn first_epoch() -> u64 {
    FIRST_EPOCH
}

impl Identity {
    /// A node of a cluster.
    pub(crate) fn new(node_id: u64, cluster_id: String, epoch: u64) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            format_version: FORMAT_VERSION,
            node_id,
            cluster_id,
            epoch,
            created_at_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The first node of a new cluster.
    pub(crate) fn first() -> Result<Self, StoreError> {
        Ok(Self::new(FIRST_NODE_ID, random_id()?, FIRST_EPOCH))
    }

    /// Whether both are the same node of the same cluster.
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        let place = |identity: &Self| (identity.node_id, identity.epoch);
        place(self) == place(other) && self.cluster_id == other.cluster_id
    }
}

/// A data directory that this process alone uses, whose node may belong to no cluster yet.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) path: PathBuf,
    pub(crate) identity: Option<Identity>,
    lock: File,
}

/// A data directory that this process alone uses, until it is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    _lock: File,
}

impl Claim {
    /// Takes the directory, creates it where it is missing, and reads its identity, if there is one.
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(StoreError::io("create", path))?;
        let lock = lock(path)?;
        let file = path.join("IDENTITY");
        let identity = match fs::read(&file) {
            // Bytes that are no text do not fit the checksum either.
            Ok(bytes) => Some(read_identity(
                path,
                &file,
                &String::from_utf8_lossy(&bytes),
            )?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("read", file)(error)),
        };
        let has_log = || {
            ["log", "WITNESS"]
                .iter()
                .any(|name| path.join(name).exists())
        };
        if identity.is_none() && has_log() {
            return Err(StoreError::damaged(
                file,
                "the file is missing, but there is a log",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            identity,
            lock,
        })
    }

    /// Writes down who the node is, once.
    pub(crate) fn settle(&mut self, identity: Identity) -> Result<(), StoreError> {
        if self.identity.is_none() {
            write_identity(&self.path, &identity)?;
            self.identity = Some(identity);
        }
        Ok(())
    }

    /// Whether the node has had a log before; an empty one is then a lost one.
    pub(crate) fn had_log(&self) -> bool {
        had_log(&self.path)
    }

    /// The directory of a node that belongs to a cluster. One that does not becomes the first node of a new one.
    pub(crate) fn into_directory(mut self) -> Result<Directory, StoreError> {
        let identity = match self.identity.take() {
            Some(identity) => identity,
            None => {
                let first = Identity::first()?;
                write_identity(&self.path, &first)?;
                first
            }
        };
        Ok(Directory {
            path: self.path,
            identity,
            _lock: self.lock,
        })
    }
}

impl Directory {
    /// Whether the node has had a log before; an empty one is then a lost one.
    pub(crate) fn had_log(&self) -> bool {
        had_log(&self.path)
    }

    /// Notes that the node has a log from now on.
    pub(crate) fn note_log(&self) -> Result<(), StoreError> {
        let path = self.path.join("INITIALISED");
        if path.exists() {
            return Ok(());
        }
        let made = File::create(&path).and_then(|file| file.sync_all());
        made.map_err(StoreError::io("create", &path))?;
        sync_dir(&self.path)
    }
}

fn had_log(path: &Path) -> bool {
    path.join("INITIALISED").exists()
}

/// Removes what an unfinished write left. It may be gone by now: a store that ended in this process may still have been
/// writing.
pub(crate) fn remove_unfinished(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(StoreError::io("sync", path))
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("LOCK");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(StoreError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            dir: dir.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
    }
}

fn read_identity(dir: &Path, file: &Path, text: &str) -> Result<Identity, StoreError> {
    let damaged = |what: &str| StoreError::damaged(file, what);
    let (body, crc) = text
        .trim_end()
        .rsplit_once("\ncrc32c ")
        .ok_or_else(|| damaged("its checksum is missing"))?;
    if u32::from_str_radix(crc, 16).ok() != Some(crc32c::crc32c(body.as_bytes())) {
        return Err(damaged("its checksum does not fit"));
    }
    let value: serde_json::Value =
        serde_json::from_str(body).map_err(|error| damaged(&error.to_string()))?;
    // The version is looked at before anything else: a later format may have other fields.
    let found = value
        .get("format_version")
        .and_then(serde_json::Value::as_u64);
    let found = found.ok_or_else(|| damaged("it states no format_version"))?;
    if found != FORMAT_VERSION {
        return Err(StoreError::OtherFormat {
            dir: dir.to_owned(),
            found,
            wanted: FORMAT_VERSION,
        });
    }
    serde_json::from_value(value).map_err(|error| damaged(&error.to_string()))
}

fn write_identity(dir: &Path, identity: &Identity) -> Result<(), StoreError> {
    let file = dir.join("IDENTITY");
    let body = serde_json::to_string(identity).expect("an identity is plain JSON");
    let text = format!("{body}\ncrc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
    let unfinished = file.with_extension("tmp");
    let written = File::create(&unfinished).and_then(|mut out| {
        out.write_all(text.as_bytes())?;
        out.sync_all()
    });
    written.map_err(StoreError::io("write", &unfinished))?;
    fs::rename(&unfinished, &file).map_err(StoreError::io("rename", &unfinished))?;
    sync_dir(dir)
}

fn random_id() -> Result<String, StoreError> {
    let mut bytes = [0_u8; 16];
    let source = "/dev/urandom";
    let read = File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(StoreError::io("read", source))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_file_that_is_gone_is_as_good_as_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.tmp");
        fs::write(&path, "half").unwrap();
        remove_unfinished(&path).unwrap();
        assert!(!path.exists());
        remove_unfinished(&path).unwrap();
        // Anything else is an error that names the file.
        let error = remove_unfinished(dir.path()).unwrap_err();
        assert!(error.to_string().contains(dir.path().to_str().unwrap()));
    }
}

//! The last applied snapshot on disk, so that a worker serves before configd is up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;
use tidegate_ir::{Digest, Snapshot};
use tidegate_proto::snapshots::v1::{SnapshotId, Update};

use crate::update::{self, Refusal};

/// How the file starts: name and version of the format.
const MAGIC: &[u8; 8] = b"TGSNAP1\n";

/// The largest file that is read, in bytes.
const BYTES_MAX: u64 = 1 << 30;

/// The file that holds the snapshot: magic, digest, and the update that makes it out of nothing.
///
/// Private keys are in it, so only the owner may read it.
#[derive(Debug, Clone)]
pub(crate) struct LastGood {
    path: PathBuf,
}

/// Why the last good snapshot is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LastGoodError {
    #[error("reading {path} failed")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("writing {path} failed")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is damaged: {cause}; it is ignored until the next snapshot replaces it")]
    Damaged { path: PathBuf, cause: String },
    #[error("the snapshot in {path} cannot be used")]
    Unusable {
        path: PathBuf,
        #[source]
        source: Refusal,
    },
}

impl LastGood {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads the snapshot; `None` where there is no file yet.
    ///
    /// # Errors
    /// When the file cannot be read or is not what was written.
    pub(crate) fn load(&self) -> Result<Option<(SnapshotId, Snapshot)>, LastGoodError> {
        let path = &self.path;
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(LastGoodError::Read {
                    path: path.clone(),
                    source,
                });
            }
        };
        let damaged = |cause: &str| LastGoodError::Damaged {
            path: path.clone(),
            cause: cause.to_owned(),
        };
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| damaged("it is in another format"))?;
        let (digest, content) = rest
            .split_at_checked(32)
            .ok_or_else(|| damaged("it is too short"))?;
        if Digest::of(content).as_bytes()[..] != *digest {
            return Err(damaged("its digest does not fit"));
        }
        let update = Update::decode(Bytes::copy_from_slice(content))
            .map_err(|error| damaged(&error.to_string()))?;
        let id = update::id_of(&update);
        let snapshot = update::snapshot(update, None);
        let unusable = |source| LastGoodError::Unusable {
            path: path.clone(),
            source,
        };
        snapshot
            .map(|snapshot| Some((id, snapshot)))
            .map_err(unusable)
    }

    /// Replaces the file: after a crash it is the old or the new one, never half of one.
    ///
    /// # Errors
    /// When the disk is full or refuses; the old file stays.
    pub(crate) fn store(&self, id: SnapshotId, snapshot: &Snapshot) -> Result<(), LastGoodError> {
        let content = update::whole(snapshot, id).encode_to_vec();
        let written = self.replace(&content);
        written.map_err(|source| LastGoodError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(folder)?;
        let temporary = self.path.with_extension("tmp");
        // A file left by a crash may have another mode, which opening it would keep.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(Digest::of(content).as_bytes())?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        File::open(folder)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tidegate_ir::{EncodedPart, EndpointSet, Part};

    use super::*;

    fn snapshot() -> Snapshot {
        let part = Part::EndpointSet(EndpointSet {
            name: "e".into(),
            endpoints: vec![],
        });
        Snapshot::new("pool", 7, [EncodedPart::encode(part)])
    }

    fn id() -> SnapshotId {
        let snapshot = snapshot();
        SnapshotId {
            pool: snapshot.pool.to_string(),
            version: snapshot.version,
            digest: Bytes::copy_from_slice(snapshot.digest().as_bytes()),
            epoch: 5,
        }
    }

    #[test]
    fn what_was_stored_is_loaded_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = LastGood::new(folder.path().join("worker/last-good"));
        assert!(file.load().unwrap().is_none());
        file.store(id(), &snapshot()).unwrap();
        let (named, loaded) = file.load().unwrap().expect("stored before");
        assert_eq!(named, id());
        assert_eq!(loaded.version, 7);
        assert_eq!(loaded.manifest(), snapshot().manifest());
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = LastGood::new(folder.path().join("last-good"));
        file.store(id(), &snapshot()).unwrap();
        let mut bytes = fs::read(&file.path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&file.path, bytes).unwrap();
        assert!(matches!(file.load(), Err(LastGoodError::Damaged { .. })));
    }
}

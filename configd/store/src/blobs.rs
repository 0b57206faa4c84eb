//! The bytes of parts: one pack file for each log entry that brought some.
//!
//! A pack is durable before an image names its parts. Until then the log has its entry, which brings it again when a loss
//! of power has taken it.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use tidegate_ir::Digest;

use crate::{
    StoreError,
    directory::{remove_unfinished, sync_dir},
};

/// A pack file starts with these bytes.
const MAGIC: &[u8; 8] = b"tgpack1\n";
/// Digest and length in front of every part.
const HEADER_BYTES: u64 = 32 + 8;
/// Bytes of parts that are kept in memory, at most.
const CACHE_BYTES_MAX: usize = 32 << 20;

/// Where the bytes of a part are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The log entry that brought them; it names the file.
    pub(crate) pack: u64,
    /// From the start of the file to the first byte.
    pub(crate) offset: u64,
    /// Number of bytes.
    pub(crate) len: u64,
}

/// Where each part of a pack goes. Equal on every replica.
pub(crate) fn layout(
    pack: u64,
    parts: &[(Digest, Bytes)],
) -> impl Iterator<Item = (Digest, Place)> {
    let mut end = MAGIC.len() as u64;
    parts.iter().map(move |(digest, content)| {
        let (offset, len) = (end + HEADER_BYTES, content.len() as u64);
        end = offset + len;
        (*digest, Place { pack, offset, len })
    })
}

/// The pack files of a data directory, and a bounded cache of what was read last.
#[derive(Debug)]
pub(crate) struct Blobs {
    dir: PathBuf,
    cache: Mutex<Cache>,
    /// Packs that were written and may not be durable yet.
    unsynced: Mutex<BTreeSet<u64>>,
}

#[derive(Debug, Default)]
struct Cache {
    parts: HashMap<Digest, Bytes>,
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Blobs {
    /// Opens the directory, creates it where it is missing, and removes what an unfinished write left.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, StoreError> {
        fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
        for path in files(&dir)? {
            if path.extension().is_some_and(|end| end == "tmp") {
                remove_unfinished(&path)?;
            }
        }
        Ok(Self {
            dir,
            cache: Mutex::default(),
            unsynced: Mutex::default(),
        })
    }

    /// Writes a pack; [`Blobs::sync_written`] makes it durable. Blocks. A pack that is already there with these bytes stays:
    /// the same entry always brings the same ones. One with other bytes was damaged, and is written again.
    pub(crate) fn write(&self, pack: u64, parts: &[(Digest, Bytes)]) -> Result<(), StoreError> {
        let path = self.path(pack);
        let places: Vec<_> = layout(pack, parts).collect();
        // In any case: it may be there from before a start, without ever having been synced.
        self.unsynced().insert(pack);
        if let Ok(true) = self.holds(pack, &places) {
            return Ok(());
        }
        let unfinished = path.with_extension("tmp");
        write_pack(&unfinished, parts).map_err(StoreError::io("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(StoreError::io("rename", &unfinished))?;
        for (digest, content) in parts {
            self.remember(*digest, content);
        }
        Ok(())
    }

    /// Returns when every pack that was written is on the disk. Blocks.
    pub(crate) fn sync_written(&self) -> Result<(), StoreError> {
        let written = std::mem::take(&mut *self.unsynced());
        if written.is_empty() {
            return Ok(());
        }
        let synced = written.iter().try_for_each(|pack| self.sync_pack(*pack));
        let synced = synced.and_then(|()| sync_dir(&self.dir));
        if synced.is_err() {
            self.unsynced().extend(written);
        }
        synced
    }

    fn sync_pack(&self, pack: u64) -> Result<(), StoreError> {
        let path = self.path(pack);
        match File::open(&path) {
            // Nothing names it any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            file => file
                .and_then(|file| file.sync_all())
                .map_err(StoreError::io("sync", &path)),
        }
    }

    /// Reads a part and holds it against its name. Blocks where the part is not cached.
    pub(crate) fn read(&self, digest: Digest, place: Place) -> Result<Bytes, StoreError> {
        if let Some(content) = self.lock().parts.get(&digest) {
            return Ok(content.clone());
        }
        let path = self.path(place.pack);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(path)),
            file => file.map_err(StoreError::io("open", &path))?,
        };
        let content = read_part(&path, &file, digest, place)?;
        self.remember(digest, &content);
        Ok(content)
    }

    /// Holds parts of a pack against their names. `false` where there is no such file. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] where a part has other bytes, or a failed file operation.
    pub(crate) fn holds(&self, pack: u64, parts: &[(Digest, Place)]) -> Result<bool, StoreError> {
        holds_at(&self.path(pack), parts)
    }

    /// Whether there is no pack at all.
    pub(crate) fn is_empty(&self) -> Result<bool, StoreError> {
        let is_pack = |path: &PathBuf| path.extension().is_some_and(|end| end == "pack");
        Ok(!files(&self.dir)?.iter().any(is_pack))
    }

    /// Whether the file of a pack is there.
    pub(crate) fn has(&self, pack: u64) -> bool {
        self.path(pack).exists()
    }

    /// States that the file of a pack is gone.
    pub(crate) fn missing(&self, pack: u64) -> StoreError {
        missing(self.path(pack))
    }

    /// Removes a pack in which nothing is alive. A failure leaves a file that the next start removes.
    pub(crate) fn remove(&self, pack: u64) {
        let path = self.path(pack);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove an unused pack");
        }
    }

    /// Removes every pack that is not `alive`, as a crash may leave some.
    pub(crate) fn retain(&self, alive: impl Fn(u64) -> bool) -> Result<(), StoreError> {
        for path in files(&self.dir)? {
            let name = path.file_stem().and_then(|stem| stem.to_str());
            if let Some(pack) = name.and_then(|stem| u64::from_str_radix(stem, 16).ok())
                && !alive(pack)
            {
                self.remove(pack);
            }
        }
        Ok(())
    }

    /// Takes a pack that another node has sent from where it lies. The same entry always brings the same bytes.
    pub(crate) fn take(&self, pack: u64, from: &Path) -> Result<(), StoreError> {
        fs::rename(from, self.path(pack)).map_err(StoreError::io("rename", from))
    }

    /// Makes the packs that were taken durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        sync_dir(&self.dir)
    }

    /// The folder of the packs.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, pack: u64) -> PathBuf {
        pack_path(&self.dir, pack)
    }

    fn remember(&self, digest: Digest, content: &Bytes) {
        let mut cache = self.lock();
        if content.len() > CACHE_BYTES_MAX / 4 || cache.parts.contains_key(&digest) {
            return;
        }
        cache.bytes += content.len();
        // A copy, so that the cache does not keep the whole log entry alive.
        cache.parts.insert(digest, Bytes::copy_from_slice(content));
        cache.order.push_back(digest);
        while cache.bytes > CACHE_BYTES_MAX {
            let Some(oldest) = cache.order.pop_front() else {
                break;
            };
            let gone = cache
                .parts
                .remove(&oldest)
                .map_or(0, |content| content.len());
            cache.bytes -= gone;
        }
    }

    fn unsynced(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same for a pack that lies elsewhere.
pub(crate) fn holds_at(path: &Path, parts: &[(Digest, Place)]) -> Result<bool, StoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file.map_err(StoreError::io("open", path))?,
    };
    for (digest, place) in parts {
        read_part(path, &file, *digest, *place)?;
    }
    Ok(true)
}

/// The file of a pack in a folder of packs.
pub(crate) fn pack_path(dir: &Path, pack: u64) -> PathBuf {
    dir.join(format!("{pack:016x}.pack"))
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries =
        fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.map_err(StoreError::io("list", dir))
}

fn write_pack(path: &Path, parts: &[(Digest, Bytes)]) -> io::Result<()> {
    let mut file = io::BufWriter::new(File::create(path)?);
    file.write_all(MAGIC)?;
    for (digest, content) in parts {
        file.write_all(digest.as_bytes())?;
        file.write_all(&(content.len() as u64).to_be_bytes())?;
        file.write_all(content)?;
    }
    file.flush()
}

fn missing(path: PathBuf) -> StoreError {
    StoreError::damaged(path, "the file is missing")
}

fn read_part(path: &Path, file: &File, digest: Digest, place: Place) -> Result<Bytes, StoreError> {
    let content = read_at(file, place).map_err(StoreError::io("read", path))?;
    if Digest::of(&content) == digest {
        return Ok(content);
    }
    let what = format!("the part at byte {} is not {digest}", place.offset);
    Err(StoreError::damaged(path, what))
}

fn read_at(mut file: &File, place: Place) -> io::Result<Bytes> {
    file.seek(SeekFrom::Start(place.offset))?;
    let mut content = Vec::new();
    file.take(place.len).read_to_end(&mut content)?;
    Ok(content.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn packs_wait_to_be_synced_also_where_they_were_found() {
        let dir = tempfile::tempdir().unwrap();
        let content = Bytes::from_static(b"a part");
        let parts = [(Digest::of(&content), content)];
        for _ in 0..2 {
            // The second time it finds the file of the first, as after a crash.
            let blobs = Blobs::open(dir.path().to_owned()).unwrap();
            blobs.write(7, &parts).unwrap();
            assert_eq!(blobs.unsynced().len(), 1);
            blobs.sync_written().unwrap();
            assert!(blobs.unsynced().is_empty());
        }
        let blobs = Blobs::open(dir.path().to_owned()).unwrap();
        blobs.write(7, &parts).unwrap();
        blobs.remove(7);
        blobs.sync_written().unwrap();
    }

    #[test]
    fn a_flipped_bit_in_a_pack_is_not_served() {
        let dir = tempfile::tempdir().unwrap();
        let content = Bytes::from_static(b"a part");
        let parts = [(Digest::of(&content), content)];
        Blobs::open(dir.path().to_owned())
            .unwrap()
            .write(7, &parts)
            .unwrap();
        let (digest, place) = layout(7, &parts).next().unwrap();
        let blobs = Blobs::open(dir.path().to_owned()).unwrap();
        assert_eq!(blobs.read(digest, place).unwrap(), parts[0].1);

        let path = blobs.path(7);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let blobs = Blobs::open(dir.path().to_owned()).unwrap();
        assert!(matches!(
            blobs.read(digest, place),
            Err(StoreError::Damaged { .. })
        ));
    }
}

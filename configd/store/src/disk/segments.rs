//! Segments as files of a folder, `log/NUMBER.log`, and their witness beside it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

use super::witness::WitnessFile;
use crate::{
    StoreError,
    directory::{remove_unfinished, sync_dir},
    lock::lock,
    log::{Medium, Witness},
};

/// The log's files of a data directory.
#[derive(Debug)]
pub(crate) struct LogFiles {
    dir: PathBuf,
    /// The newest segment.
    newest: Option<(PathBuf, File)>,
    witness: WitnessFile,
    /// Held until nothing is written any more.
    _lock: File,
}

impl LogFiles {
    /// Opens the files below a data directory, or the place for them, and removes what an unfinished write left.
    pub(crate) fn open(data: &Path) -> Result<Self, StoreError> {
        let dir = data.join("log");
        fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
        sync_dir(data)?;
        let lock = lock(&dir)?;
        let files = Self {
            dir,
            newest: None,
            witness: WitnessFile::open(data)?,
            _lock: lock,
        };
        for path in files.list()? {
            if path.extension().is_some_and(|end| end == "tmp") {
                remove_unfinished(&path)?;
            }
        }
        Ok(files)
    }

    fn list(&self) -> Result<Vec<PathBuf>, StoreError> {
        let entries = fs::read_dir(&self.dir)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        entries.map_err(StoreError::io("list", &self.dir))
    }

    fn newest(&self) -> Result<(&Path, &File), StoreError> {
        let newest = self.newest.as_ref().map(|(path, file)| (&**path, file));
        newest.ok_or_else(|| StoreError::damaged(&self.dir, "it has no segment"))
    }
}

impl Medium for LogFiles {
    fn segments(&mut self) -> Result<Vec<u64>, StoreError> {
        let mut numbers: Vec<u64> = self
            .list()?
            .iter()
            .filter_map(|path| number(path))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read(&mut self, number: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(number);
        let bytes = fs::read(&path).map_err(StoreError::io("read", &path))?;
        // They come in their order: the last one goes on.
        let file = File::options().write(true).open(&path);
        let file = file.map_err(StoreError::io("open", &path))?;
        self.newest = Some((path, file));
        Ok(bytes)
    }

    fn create(&mut self, number: u64, len: u64, head: &[u8]) -> Result<(), StoreError> {
        let path = self.path(number);
        let unfinished = path.with_extension("tmp");
        let created = File::create(&unfinished).and_then(|file| {
            reserve(&file, len)?;
            file.write_all_at(head, 0)?;
            file.sync_all()?;
            Ok(file)
        });
        let file = created.map_err(StoreError::io("create", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(StoreError::io("rename", &unfinished))?;
        self.newest = Some((path, file));
        sync_dir(&self.dir)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let (path, file) = self.newest()?;
        file.write_all_at(bytes, at)
            .map_err(StoreError::io("write", path))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let (path, file) = self.newest()?;
        file.sync_data().map_err(StoreError::io("sync", path))
    }

    fn remove(&mut self, number: u64) -> Result<(), StoreError> {
        let path = self.path(number);
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        // One at a time: a gap would be taken for a loss.
        sync_dir(&self.dir)
    }

    fn witness(&mut self) -> Result<Option<Witness>, StoreError> {
        Ok(self.witness.newest())
    }

    fn attest(&mut self, witness: Witness) -> Result<(), StoreError> {
        self.witness.attest(witness)
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        self.witness.settle()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016x}.log"))
    }

    fn witness_path(&self) -> PathBuf {
        self.witness.path().to_owned()
    }
}

fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
    let number = u64::from_str_radix(name, 16).ok()?;
    (name.len() == 16).then_some(number)
}

/// Takes the space of a file, so that a full disk shows before anything is written, and a sync has no length to note.
fn reserve(file: &File, len: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        // Some file systems cannot.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(len),
        reserved => Ok(reserved?),
    }
}

//! The files of the audit log: bounded in size and number, the oldest removed first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::chain::{Broken, Head};
use super::record::Record;

/// Bytes of a file, about: a batch of records is not parted.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files that are kept.
const FILES_MAX: usize = 16;
/// Who may read and write them.
const FILE_MODE: u32 = 0o600;

/// Why the audit log cannot be written or is not good.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file or the folder cannot be used.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{path}: {source}")]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: Broken,
    },
}

/// The newest file, open for more.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    file: Option<File>,
    path: PathBuf,
    /// Bytes that are whole records.
    len: u64,
    /// Whether there may be more than those, because an append failed.
    is_torn: bool,
}

impl Files {
    /// Opens the folder, creates it where it is missing, and finds the end of the chain. A record that was only
    /// half written, by a crash, is cut off.
    pub(super) fn open(folder: &Path) -> Result<(Self, Head), AuditError> {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
        let mut files = Self {
            folder: folder.to_owned(),
            file: None,
            path: PathBuf::new(),
            len: 0,
            is_torn: false,
        };
        let mut paths = paths(folder)?;
        let Some(newest) = paths.pop() else {
            return Ok((files, Head::beginning()));
        };
        let mut head = None;
        files.len = scan(&newest, &mut head, &mut |_| ())?;
        // A crash may leave a new file without one whole record; then the end is in the file before it.
        while head.is_none()
            && let Some(older) = paths.pop()
        {
            scan(&older, &mut head, &mut |_| ())?;
        }
        let file = OpenOptions::new().append(true).open(&newest);
        let file = file.map_err(io_error(&newest))?;
        file.set_len(files.len).map_err(io_error(&newest))?;
        files.file = Some(file);
        files.path = newest;
        Ok((files, head.unwrap_or_else(Head::beginning)))
    }

    /// Appends lines, and returns when they are on the disk. What a failure leaves behind is cut off by the next
    /// append. `first` is the number of the first record.
    pub(super) fn append(&mut self, first: u64, lines: &[String]) -> Result<(), AuditError> {
        if self.file.is_none() || self.len >= FILE_BYTES_MAX {
            self.start_file(first)?;
        }
        let file = self.file.as_mut().expect("a file was started");
        let text: String = lines
            .iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect();
        if self.is_torn {
            file.set_len(self.len).map_err(io_error(&self.path))?;
        }
        self.is_torn = true;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_data());
        written.map_err(io_error(&self.path))?;
        self.is_torn = false;
        self.len += text.len() as u64;
        Ok(())
    }

    fn start_file(&mut self, first: u64) -> Result<(), AuditError> {
        let path = self.folder.join(format!("{first:020}.log"));
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .open(&path);
        self.file = Some(file.map_err(io_error(&path))?);
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(io_error(&self.folder))?;
        self.path = path;
        // A start that failed half-way may have left something in it.
        (self.len, self.is_torn) = (0, true);
        let mut all = paths(&self.folder)?;
        let surplus = all.len().saturating_sub(FILES_MAX);
        for old in all.drain(..surplus) {
            fs::remove_file(&old).map_err(io_error(&old))?;
        }
        Ok(())
    }
}

/// Hands every record of a data directory's audit log to `take`, the oldest first, and returns the end of the
/// chain; `None` where there is no record. The files may be written meanwhile.
///
/// # Errors
/// With the first place at which the chain does not hold.
pub fn read(folder: &Path, take: &mut dyn FnMut(Record)) -> Result<Option<Head>, AuditError> {
    let mut head = None;
    for path in paths(folder)? {
        scan(&path, &mut head, take)?;
    }
    Ok(head)
}

/// Reads a file that follows `head`, and returns how many of its bytes are whole lines.
fn scan(
    path: &Path,
    head: &mut Option<Head>,
    take: &mut dyn FnMut(Record),
) -> Result<u64, AuditError> {
    let bytes = fs::read(path).map_err(io_error(path))?;
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(&bytes[..end]);
    for line in text.lines() {
        let (next, record) =
            Head::follow(head.as_ref(), line).map_err(|source| AuditError::Broken {
                path: path.to_owned(),
                source,
            })?;
        *head = Some(next);
        take(record);
    }
    Ok(end as u64)
}

/// The files, the oldest first.
fn paths(folder: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let entries = fs::read_dir(folder).map_err(io_error(folder))?;
    let paths: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(io_error(folder))?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "log"));
    paths.sort();
    Ok(paths)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Io { path, source }
}

#[cfg(test)]
mod damaged;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::Event;

    fn write(folder: &Path, count: u64) {
        let (mut files, mut head) = Files::open(folder).expect("the folder is usable");
        for _ in 0..count {
            let line = head.append(Event::default(), 7, 0);
            files.append(head.number, &[line]).expect("there is room");
        }
    }

    fn numbers(folder: &Path) -> Vec<u64> {
        let mut numbers = vec![];
        read(folder, &mut |record| numbers.push(record.number)).expect("the chain holds");
        numbers
    }

    #[test]
    fn the_chain_goes_on_after_a_restart_and_a_torn_record() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), 3);
        write(folder.path(), 2);
        assert_eq!(numbers(folder.path()), [1, 2, 3, 4, 5]);
        let path = paths(folder.path()).expect("a folder").remove(0);
        let mut text = fs::read(&path).expect("a file");
        text.truncate(text.len() - 10);
        fs::write(&path, text).expect("a file");
        assert_eq!(numbers(folder.path()), [1, 2, 3, 4]);
        write(folder.path(), 1);
        assert_eq!(numbers(folder.path()), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_chain_goes_on_after_the_first_record_of_a_file_was_torn() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), 3);
        fs::write(folder.path().join(format!("{:020}.log", 4)), "half a rec").expect("a file");
        write(folder.path(), 2);
        assert_eq!(numbers(folder.path()), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn only_so_many_files_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut files, mut head) = Files::open(folder.path()).expect("the folder is usable");
        for _ in 0..FILES_MAX + 3 {
            let line = head.append(Event::default(), 7, 0);
            files.append(head.number, &[line]).expect("there is room");
            files.len = FILE_BYTES_MAX;
        }
        assert_eq!(numbers(folder.path()), (4..=19).collect::<Vec<_>>());
    }
}

//! The lock of the log's folder, which a store that ended in this process may hold a little longer.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{StoreError, directory::lock_file};

/// Time for a store that ended in this process to write its last. Another process cannot have the lock, because the data
/// directory has one, too.
const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for the lock; it goes with the file.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let (path, file) = lock_file(dir)?;
    let locked = match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => wait(file),
        Err(TryLockError::Error(error)) => Err(error),
    };
    locked.map_err(StoreError::io("lock", path))
}

/// Locks in a thread of its own, so that the wait has an end.
fn wait(file: File) -> io::Result<File> {
    let (done, locked) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("store-lock".to_owned())
        .spawn(move || {
            let locked = file.lock();
            let _ = done.send(locked.map(|()| file));
        })?;
    let locked = locked.recv_timeout(DEADLINE);
    locked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

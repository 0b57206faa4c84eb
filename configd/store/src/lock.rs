//! The lock of a folder that is written by tasks and threads, which outlive the store that began them a little.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::StoreError;

/// Time for a store that ended in this process to write its last. Another process cannot have the lock, because the data
/// directory has one, too.
const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for the lock on the folder itself; it goes with the file.
pub(crate) fn lock(dir: &Path) -> Result<File, StoreError> {
    let folder = File::open(dir).map_err(StoreError::io("open", dir))?;
    let locked = match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => wait(folder),
        Err(TryLockError::Error(error)) => Err(error),
    };
    locked.map_err(StoreError::io("lock", dir))
}

/// Locks in a thread of its own, so that the wait has an end.
fn wait(folder: File) -> io::Result<File> {
    let (done, locked) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("store-lock".to_owned())
        .spawn(move || {
            let locked = folder.lock();
            let _ = done.send(locked.map(|()| folder));
        })?;
    let locked = locked.recv_timeout(DEADLINE);
    locked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

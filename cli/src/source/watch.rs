//! Tells when files below some paths change: the system's events, and a slow look round for the
//! file systems and editors that those miss.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How long the files must be quiet before they are read: editors write in several steps.
const QUIET: Duration = Duration::from_millis(30);
/// Longest wait for quiet, so that a file under constant change is read all the same.
const NOISE_MAX: Duration = Duration::from_millis(120);
/// Time between two looks round.
const LOOK_ROUND: Duration = Duration::from_secs(1);
/// Events waiting to be taken; more are dropped, and the look round finds what they said.
const EVENTS_MAX: usize = 1_024;

/// Watches the files below some paths.
pub(crate) struct FileWatch {
    // Watching ends when it is dropped.
    _watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<OsString>,
    /// What changed since files were last read.
    touched: BTreeSet<OsString>,
}

impl FileWatch {
    /// Starts watching. Where the system refuses, only the slow look round is left.
    pub(crate) fn start(roots: &[PathBuf]) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if matches!(event.kind, EventKind::Access(_)) {
                return;
            }
            for name in event.paths.iter().filter_map(|path| path.file_name()) {
                // A full queue already says that something changed.
                let _ = sender.try_send(name.to_owned());
            }
        });
        let watcher = watcher.ok().map(|mut watcher| {
            for root in roots {
                let _ = watch_root(&mut watcher, root);
            }
            watcher
        });
        Self {
            _watcher: watcher,
            events,
            touched: BTreeSet::new(),
        }
    }

    /// Waits until files may have changed, and returns the names of those that certainly did.
    ///
    /// Returns an empty set once a second, for a look at the signatures of all files. Nothing is lost
    /// when the wait is given up and begun anew.
    pub(crate) async fn next(&mut self) -> BTreeSet<OsString> {
        if self.touched.is_empty() {
            match timeout(LOOK_ROUND, self.events.recv()).await {
                Ok(Some(name)) => self.touched.insert(name),
                Ok(None) => {
                    sleep(LOOK_ROUND).await;
                    return BTreeSet::new();
                }
                Err(_) => return BTreeSet::new(),
            };
        }
        let _ = timeout(NOISE_MAX, async {
            while let Ok(Some(name)) = timeout(QUIET, self.events.recv()).await {
                self.touched.insert(name);
            }
        })
        .await;
        std::mem::take(&mut self.touched)
    }
}

/// A file is watched through its folder, because editors replace files rather than write them.
fn watch_root(watcher: &mut RecommendedWatcher, root: &Path) -> notify::Result<()> {
    if root.is_dir() {
        return watcher.watch(root, RecursiveMode::Recursive);
    }
    let folder = match root.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    watcher.watch(folder, RecursiveMode::NonRecursive)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_saved_file_is_noticed_within_200_ms() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.yaml");
        fs::write(&path, "a: 1").expect("written");
        let mut watch = FileWatch::start(std::slice::from_ref(&path));
        let saved = Instant::now();
        // As editors save: write beside, then rename.
        fs::write(folder.path().join("shop.yaml~"), "a: 2").expect("written");
        fs::rename(folder.path().join("shop.yaml~"), &path).expect("renamed");
        let touched = watch.next().await;
        assert!(
            touched.contains(&OsString::from("shop.yaml")),
            "{touched:?}"
        );
        assert!(
            saved.elapsed() < Duration::from_millis(200),
            "{:?}",
            saved.elapsed()
        );
    }

    #[tokio::test]
    async fn a_change_survives_a_wait_that_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = FileWatch::start(&[folder.path().to_owned()]);
        fs::write(folder.path().join("shop.yaml"), "a: 1").expect("written");
        let given_up = timeout(QUIET / 2, watch.next()).await;
        assert!(given_up.is_err(), "{given_up:?}");
        assert!(watch.next().await.contains(&OsString::from("shop.yaml")));
    }

    #[tokio::test]
    async fn a_quiet_folder_is_looked_at_once_a_second() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = FileWatch::start(&[folder.path().to_owned()]);
        assert!(watch.next().await.is_empty());
    }
}

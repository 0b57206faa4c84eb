//! The data directory of `tidegate up`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::api::DISCOVERY_FILE;

/// The folder of the store and of the last good snapshot.
pub(super) struct DataDir {
    path: PathBuf,
    // Removes the folder when it is dropped.
    _temporary: Option<tempfile::TempDir>,
}

impl DataDir {
    /// Makes the folder; a temporary one where none is given.
    pub(super) fn open(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = given {
            std::fs::create_dir_all(path)
                .with_context(|| format!("cannot make the data directory {}", path.display()))?;
            return Ok(Self {
                path: path.to_owned(),
                _temporary: None,
            });
        }
        let temporary = tempfile::Builder::new()
            .prefix("tidegate-")
            .tempdir()
            .context("cannot make a temporary data directory; name one with --data-dir")?;
        Ok(Self {
            path: temporary.path().to_owned(),
            _temporary: Some(temporary),
        })
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down where the services listen, for commands that are given the folder.
    pub(super) fn announce(&self, address: Option<SocketAddr>) -> anyhow::Result<String> {
        let address = address.context("the services listen nowhere")?;
        let url = format!("http://{address}");
        let path = self.path.join(DISCOVERY_FILE);
        std::fs::write(&path, &url).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(url)
    }

    /// Takes that back.
    pub(super) fn withdraw(&self) {
        // Whoever finds a stale file is told that nobody answers there.
        let _ = std::fs::remove_file(self.path.join(DISCOVERY_FILE));
    }
}

//! A process's certificate as it is now: read again when its files change, without a restart.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use super::loaded::{CredentialFiles, CredentialsError, FileContents, Loaded};
use super::{Role, Subject};

/// How often the files are looked at, unless told otherwise.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// The current certificate, key and authorities; clones share them.
#[derive(Debug, Clone)]
pub struct Credentials {
    files: Arc<CredentialFiles>,
    reload_interval: Duration,
    current: Arc<watch::Sender<Arc<Loaded>>>,
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    /// They must hold a certificate with an identity, its key, and at least one authority.
    pub fn load(files: CredentialFiles) -> Result<Self, CredentialsError> {
        let loaded = Loaded::new(&files, &files.read()?)?;
        let (current, _) = watch::channel(Arc::new(loaded));
        Ok(Self {
            files: Arc::new(files),
            reload_interval: RELOAD_INTERVAL,
            current: Arc::new(current),
        })
    }

    /// The same, whose files [`Credentials::follow`] looks at this often, instead of every 10 s.
    pub fn reload_every(mut self, interval: Duration) -> Self {
        self.reload_interval = interval;
        self
    }

    /// The same, if it is of a role.
    ///
    /// # Errors
    /// When it is of another one.
    pub fn require(self, role: Role) -> Result<Self, CredentialsError> {
        let subject = self.subject();
        if subject.identity.principal.role() == role {
            return Ok(self);
        }
        Err(CredentialsError::Role {
            path: self.files.certificate.clone(),
            found: subject.identity.to_string(),
            wanted: role,
        })
    }

    /// Whose certificate it is, and how long it counts.
    pub fn subject(&self) -> Subject {
        self.loaded().subject.clone()
    }

    /// Looks at the files again and again until it is dropped. Content counts, not names or times, so that
    /// atomic renames and swapped links are seen like any other change. What cannot be used (half of a change,
    /// another identity) is said once, and the last good state stays in use.
    pub async fn follow(&self) -> Infallible {
        let mut seen: Option<FileContents> = None;
        loop {
            if let Err(error) = self.refresh(&mut seen) {
                let path = self.files.certificate.display();
                warn!(%path, %error, "New certificate files cannot be used; the old ones stay in use.");
            }
            tokio::time::sleep(self.reload_interval).await;
        }
    }

    pub(super) fn loaded(&self) -> Arc<Loaded> {
        self.current.borrow().clone()
    }

    /// Takes new content over. The files are small and local, so reading them does not hold up the thread.
    fn refresh(&self, seen: &mut Option<FileContents>) -> Result<(), CredentialsError> {
        let contents = self.files.read()?;
        if seen.as_ref() == Some(&contents) {
            return Ok(());
        }
        let loaded = Loaded::new(&self.files, &contents);
        let is_first = seen.replace(contents).is_none();
        let loaded = loaded?;
        let before = self.subject();
        if loaded.subject.identity != before.identity {
            return Err(CredentialsError::Changed {
                path: self.files.certificate.clone(),
                found: loaded.subject.identity.to_string(),
                wanted: before.identity.to_string(),
            });
        }
        if !is_first || loaded.subject != before {
            let not_after = loaded.subject.not_after_unix_s;
            info!(identity = %before.identity, not_after_unix_s = not_after, "New certificate files are in use.");
        }
        self.current.send_replace(Arc::new(loaded));
        Ok(())
    }
}

//! An authority's folder, and the folders of what it signs. Nothing that is there is written over.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Authority, AuthorityError, Issued, TrustDomain, Validity};
use crate::identity::Principal;

/// The authority's certificate: in its own folder, and beside each certificate that it signed.
pub const AUTHORITY_CERTIFICATE: &str = "ca.crt";
/// The authority's key.
pub const AUTHORITY_KEY: &str = "ca.key";
/// A certificate, as Kubernetes names it in Secrets.
pub const CERTIFICATE: &str = "tls.crt";
/// Its key.
pub const KEY: &str = "tls.key";

/// Who may read a key, and who a certificate.
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

/// Why a folder was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something already.
    #[error("{0} is there already and is not written over; choose another folder, or remove it")]
    Exists(PathBuf),
    /// A file could not be written or read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no authority, or it signs nothing.
    #[error("the authority in {folder} signs nothing")]
    Authority {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: AuthorityError,
    },
}

impl Authority {
    /// Makes an authority in `folder`, which is created where it is missing. Its key has mode 0600.
    ///
    /// # Errors
    /// Where there is an authority already, or the folder cannot be written.
    pub fn init(
        folder: &Path,
        trust_domain: TrustDomain,
        validity: Validity,
    ) -> Result<Self, FolderError> {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
        let created = Self::create(trust_domain, validity);
        let (authority, issued) = created.map_err(|source| FolderError::Authority {
            folder: folder.to_owned(),
            source,
        })?;
        write_new(&folder.join(AUTHORITY_KEY), &issued.key_pem, KEY_MODE)?;
        write_new(
            &folder.join(AUTHORITY_CERTIFICATE),
            &issued.certificate_pem,
            CERTIFICATE_MODE,
        )?;
        Ok(authority)
    }

    /// The authority of a folder.
    ///
    /// # Errors
    /// It must be one that [`Authority::init`] made.
    pub fn open(folder: &Path) -> Result<Self, FolderError> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(io_error(&path))
        };
        let (certificate, key) = (read(AUTHORITY_CERTIFICATE)?, read(AUTHORITY_KEY)?);
        Self::from_pem(&certificate, &key).map_err(|source| FolderError::Authority {
            folder: folder.to_owned(),
            source,
        })
    }

    /// Issues a certificate into a new folder: `tls.crt`, `tls.key` with mode 0600, and `ca.crt`.
    ///
    /// # Errors
    /// Where the folder is there already, or cannot be written.
    pub fn issue_into(
        &self,
        folder: &Path,
        principal: Principal,
        dns_names: &[String],
        validity: Validity,
    ) -> Result<(), FolderError> {
        let issued = self.issue(principal, dns_names, validity);
        let issued = issued.map_err(|source| FolderError::Authority {
            folder: folder.to_owned(),
            source,
        })?;
        if let Some(parent) = folder
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            fs::create_dir_all(parent).map_err(io_error(parent))?;
        }
        let made = fs::DirBuilder::new().mode(0o755).create(folder);
        made.map_err(exists_or_io(folder))?;
        self.write(folder, &issued)
    }

    fn write(&self, folder: &Path, issued: &Issued) -> Result<(), FolderError> {
        write_new(&folder.join(KEY), &issued.key_pem, KEY_MODE)?;
        write_new(
            &folder.join(AUTHORITY_CERTIFICATE),
            &self.certificate_pem,
            CERTIFICATE_MODE,
        )?;
        write_new(
            &folder.join(CERTIFICATE),
            &issued.certificate_pem,
            CERTIFICATE_MODE,
        )
    }
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), FolderError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let mut file = file.map_err(exists_or_io(path))?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(io_error(path))
}

fn exists_or_io(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::AlreadyExists => FolderError::Exists(path),
        _ => FolderError::Io { path, source },
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { path, source }
}

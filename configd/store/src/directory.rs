//! The data directory: its lock, its identity, its format version.

use std::{
    fs::{self, File, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::StoreError;

/// The format that this build reads and writes.
pub(crate) const FORMAT_VERSION: u64 = 1;
/// The first node of a cluster. Later ids are allotted from the log and never used again.
const FIRST_NODE_ID: u64 = 1;

/// Who a node is; written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) format_version: u64,
    pub(crate) node_id: u64,
    /// 32 hexadecimal digits.
    pub(crate) cluster_id: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub(crate) created_at_unix_ms: u64,
}

/// A data directory that this process alone uses, until it is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    _lock: File,
}

impl Directory {
    /// Takes the directory, creates it where it is missing, and reads or writes its identity.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(StoreError::io("create", path))?;
        let lock = lock(path)?;
        let file = path.join("IDENTITY");
        let identity = match fs::read_to_string(&file) {
            Ok(text) => read_identity(path, &file, &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                create_identity(path, &file)?
            }
            Err(error) => return Err(StoreError::io("read", file)(error)),
        };
        Ok(Self {
            path: path.to_owned(),
            identity,
            _lock: lock,
        })
    }
}

impl Directory {
    /// Whether the node has had a log before; an empty one is then a lost one.
    pub(crate) fn had_log(&self) -> bool {
        self.path.join("INITIALISED").exists()
    }

    /// Notes that the node has a log from now on.
    pub(crate) fn note_log(&self) -> Result<(), StoreError> {
        let path = self.path.join("INITIALISED");
        if path.exists() {
            return Ok(());
        }
        let made = File::create(&path).and_then(|file| file.sync_all());
        made.map_err(StoreError::io("create", &path))?;
        sync_dir(&self.path)
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(StoreError::io("sync", path))
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("LOCK");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(StoreError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            dir: dir.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
    }
}

fn read_identity(dir: &Path, file: &Path, text: &str) -> Result<Identity, StoreError> {
    let damaged = |what: &str| StoreError::damaged(file, what);
    let (body, crc) = text
        .trim_end()
        .rsplit_once("\ncrc32c ")
        .ok_or_else(|| damaged("its checksum is missing"))?;
    if u32::from_str_radix(crc, 16).ok() != Some(crc32c::crc32c(body.as_bytes())) {
        return Err(damaged("its checksum does not fit"));
    }
    let value: serde_json::Value =
        serde_json::from_str(body).map_err(|error| damaged(&error.to_string()))?;
    // The version is looked at before anything else: a later format may have other fields.
    let found = value
        .get("format_version")
        .and_then(serde_json::Value::as_u64);
    let found = found.ok_or_else(|| damaged("it states no format_version"))?;
    if found != FORMAT_VERSION {
        return Err(StoreError::OtherFormat {
            dir: dir.to_owned(),
            found,
            wanted: FORMAT_VERSION,
        });
    }
    serde_json::from_value(value).map_err(|error| damaged(&error.to_string()))
}

fn create_identity(dir: &Path, file: &Path) -> Result<Identity, StoreError> {
    if dir.join("log").exists() {
        return Err(StoreError::damaged(
            file,
            "the file is missing, but there is a log",
        ));
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let identity = Identity {
        format_version: FORMAT_VERSION,
        node_id: FIRST_NODE_ID,
        cluster_id: random_id()?,
        created_at_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
    };
    let body = serde_json::to_string(&identity).expect("an identity is plain JSON");
    let text = format!("{body}\ncrc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
    let unfinished = file.with_extension("tmp");
    let written = File::create(&unfinished).and_then(|mut out| {
        out.write_all(text.as_bytes())?;
        out.sync_all()
    });
    written.map_err(StoreError::io("write", &unfinished))?;
    fs::rename(&unfinished, file).map_err(StoreError::io("rename", &unfinished))?;
    sync_dir(dir)?;
    Ok(identity)
}

fn random_id() -> Result<String, StoreError> {
    let mut bytes = [0_u8; 16];
    let source = "/dev/urandom";
    let read = File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(StoreError::io("read", source))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

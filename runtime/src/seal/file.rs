//! The file of the master keys: one key in each line, in clear or wrapped by a key management service.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::keys::{KEY_LEN, Key};
use super::{Kms, KmsError, SealKeys};

/// Keys of a file, at most.
const KEYS_MAX: usize = 100;
/// Bytes of a file, at most.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a line with a wrapped key begins with.
const WRAPPED: &str = "kms:";
const FILE_MODE: u32 = 0o600;

/// Why there are no master keys.
#[derive(Debug, thiserror::Error)]
pub enum SealKeysError {
    /// The file cannot be read or written.
    #[error("the seal keys in {path} are not usable")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Users without a right to the keys can read them.
    #[error(
        "{path} has mode {mode:04o}, so every user of this machine can read the seal keys; run chmod o= {path}"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line is no key. It is not shown: it may be one with a mistake.
    #[error(
        "{path}:{line}: a key is 64 hexadecimal digits, as `openssl rand -hex 32` prints them, or {WRAPPED} and a \
         wrapped key"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// There is a wrapped key, and nothing that unwraps it.
    #[error("{path}:{line}: the key is wrapped; name the program that unwraps it with --seal-kms")]
    NoKms {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// The program that unwraps keys did not.
    #[error("{path}:{line}: the key cannot be unwrapped")]
    Unwrap {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// Why not.
        #[source]
        source: KmsError,
    },
    /// The program that wraps keys did not.
    #[error("the new key cannot be wrapped")]
    Wrap(#[source] KmsError),
    /// There is none, or there are too many.
    #[error("{path} holds {count} keys; it must have 1 to {KEYS_MAX}")]
    Count {
        /// The file.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
}

impl SealKeys {
    /// Reads a file with a key in each line, the one that seals first; empty lines and those with `#` do not count.
    /// Blocks while `kms` unwraps keys.
    ///
    /// # Errors
    /// It must hold at least one key and nothing else, and be closed to other users.
    pub fn load(path: &Path, kms: Option<&Kms>) -> Result<Self, SealKeysError> {
        let text = read(path)?;
        let mut keys = vec![];
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if !line.is_empty() && !line.starts_with('#') {
                keys.push(key(path, index + 1, line, kms)?);
            }
        }
        let count = keys.len();
        let mut keys = keys.into_iter();
        match keys.next() {
            Some(first) if count <= KEYS_MAX => Ok(Self::new(first, keys.collect())),
            _ => Err(SealKeysError::Count {
                path: path.to_owned(),
                count,
            }),
        }
    }
}

/// Adds a new random key behind those of a file, which is made with mode 0600 where it is missing; wrapped, where
/// there is a `kms`. Behind others it opens and does not seal yet.
///
/// # Errors
/// The file must be usable, and the key wrapped.
pub fn add_key(path: &Path, kms: Option<&Kms>) -> Result<(), SealKeysError> {
    let mut master = [0; KEY_LEN];
    aws_lc_rs::rand::fill(&mut master).expect("the system has random bytes");
    let hex: String = master.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = match kms {
        Some(kms) => format!("{WRAPPED}{}", kms.wrap(&hex).map_err(SealKeysError::Wrap)?),
        None => hex,
    };
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(FILE_MODE).open(path);
    let written = file.and_then(|mut file| {
        writeln!(file, "{line}")?;
        file.sync_all()
    });
    written.map_err(|source| SealKeysError::Io {
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<String, SealKeysError> {
    let failed = |source| SealKeysError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(SealKeysError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(failed).map(|_| text)
}

fn key(path: &Path, line: usize, text: &str, kms: Option<&Kms>) -> Result<Key, SealKeysError> {
    let path = || path.to_owned();
    let clear = match (text.strip_prefix(WRAPPED), kms) {
        (None, _) => text.to_owned(),
        (Some(_), None) => return Err(SealKeysError::NoKms { path: path(), line }),
        (Some(wrapped), Some(kms)) => {
            let failed = |source| SealKeysError::Unwrap {
                path: path(),
                line,
                source,
            };
            kms.unwrap(wrapped).map_err(failed)?
        }
    };
    let master = unhex(&clear).ok_or_else(|| SealKeysError::Line { path: path(), line })?;
    Ok(Key::new(&master))
}

fn unhex(text: &str) -> Option<[u8; KEY_LEN]> {
    let mut bytes = [0; KEY_LEN];
    if text.len() != 2 * KEY_LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const ONE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const TWO: &str = "f00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn file(text: &str, mode: u32) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a file of ours");
        (folder, path)
    }

    fn load(text: &str) -> Result<SealKeys, SealKeysError> {
        let (_folder, path) = file(text, 0o600);
        SealKeys::load(&path, None)
    }

    #[test]
    fn the_first_line_is_the_key_that_seals() {
        let both = load(&format!("# made today\n{ONE}\n\n{TWO}\n")).expect("two keys");
        let sealed = both.seal(b"text");
        assert!(load(ONE).expect("a key").open(&sealed).is_ok());
        assert!(load(TWO).expect("a key").open(&sealed).is_err());
    }

    #[test]
    fn a_file_without_good_keys_is_refused_and_never_shown() {
        let error = load(&format!("{ONE}\nc0ffee")).expect_err("too short");
        let text = error.to_string();
        assert!(text.contains(":2: a key is 64"), "{text}");
        assert!(!text.contains("c0ffee"), "{text}");
        assert!(matches!(load(""), Err(SealKeysError::Count { .. })));
    }

    #[test]
    fn a_file_that_every_user_can_read_is_refused() {
        let (_folder, path) = file(ONE, 0o644);
        let text = SealKeys::load(&path, None)
            .expect_err("it is open")
            .to_string();
        assert!(
            text.contains("mode 0644") && text.contains("chmod o="),
            "{text}"
        );
        let (_folder, path) = file(ONE, 0o440);
        assert!(SealKeys::load(&path, None).is_ok());
    }

    #[test]
    fn a_new_key_goes_behind_the_others_and_does_not_seal_yet() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        add_key(&path, None).expect("the folder is writable");
        let one = SealKeys::load(&path, None).expect("a key");
        add_key(&path, None).expect("the file is writable");
        let two = SealKeys::load(&path, None).expect("two keys");
        assert_eq!(two.ids().len(), 2);
        assert_eq!(one.ids()[0], two.ids()[0]);
        assert!(two.is_current(&one.seal(b"text")));
    }

    #[test]
    fn wrapped_keys_are_unwrapped_by_the_program() {
        let folder = tempfile::tempdir().expect("a folder");
        let (program, path) = (folder.path().join("kms"), folder.path().join("keys"));
        let script = "#!/bin/sh\n[ $1 = wrap ] && tr 0-9a-f g-v || tr g-v 0-9a-f\n";
        fs::write(&program, script).expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("a file of ours");
        let kms = Kms::new(program);
        add_key(&path, Some(&kms)).expect("it wraps");
        let text = fs::read_to_string(&path).expect("a file");
        assert!(text.starts_with("kms:"), "{text}");
        let keys = SealKeys::load(&path, Some(&kms)).expect("it unwraps");
        assert_eq!(keys.ids().len(), 1);
        let refused = SealKeys::load(&path, None);
        assert!(matches!(refused, Err(SealKeysError::NoKms { line: 1, .. })));
    }
}

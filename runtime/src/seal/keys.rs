//! Master keys: the newest seals, all of them open.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;

use super::{CODE_LEN, HEADER_LEN, KEY_ID_LEN, MAGIC, OpenError, Opener, is_sealed, parts};

/// Bytes of a master key.
const KEY_LEN: usize = 32;
/// Keys of a file, at most.
const KEYS_MAX: usize = 100;

/// The master keys, the newest last; at least one.
#[derive(Clone)]
pub struct SealKeys {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; KEY_ID_LEN],
    /// Makes the code of a text.
    code: hmac::Key,
    /// Makes the text's key of its code.
    derive: hmac::Key,
}

/// Why there are no master keys.
#[derive(Debug, thiserror::Error)]
pub enum SealKeysError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is no key. It is not shown: it may be one with a mistake.
    #[error("{path}:{line}: a key is 64 hexadecimal digits, as `openssl rand -hex 32` prints them")]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
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
    /// Reads a file with a key in each line, the newest last; empty lines and those with `#` do not count.
    ///
    /// # Errors
    /// It must hold at least one key and nothing else.
    pub fn load(path: &Path) -> Result<Self, SealKeysError> {
        let path = || path.to_owned();
        let text = std::fs::read_to_string(path());
        let text = text.map_err(|source| SealKeysError::Read {
            path: path(),
            source,
        })?;
        let mut keys = vec![];
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = unhex(line).ok_or_else(|| SealKeysError::Line {
                path: path(),
                line: index + 1,
            })?;
            keys.push(Key::new(&key));
        }
        if keys.is_empty() || keys.len() > KEYS_MAX {
            let count = keys.len();
            return Err(SealKeysError::Count {
                path: path(),
                count,
            });
        }
        Ok(Self { keys })
    }

    /// Seals by the newest key.
    pub fn seal(&self, text: &[u8]) -> Vec<u8> {
        let key = self.newest();
        let code = hmac::sign(&key.code, text);
        let header = [&MAGIC[..], &key.id, code.as_ref()].concat();
        key.opener(code.as_ref()).seal(&header, text)
    }

    /// Opens what any of the keys sealed.
    ///
    /// # Errors
    /// When it is not sealed, was changed, or its key is not among ours.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        self.opener(sealed)?.open(sealed)
    }

    /// The opener of one sealed text.
    ///
    /// # Errors
    /// When it is not sealed, or its key is not among ours.
    pub fn opener(&self, sealed: &[u8]) -> Result<Opener, OpenError> {
        let (header, _) = parts(sealed)?;
        let (id, code) = header[MAGIC.len()..].split_at(KEY_ID_LEN);
        debug_assert_eq!(code.len(), CODE_LEN);
        let key = self.keys.iter().find(|key| key.id == *id);
        let no_key = || OpenError::NoKey {
            id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        Ok(key.ok_or_else(no_key)?.opener(code))
    }

    /// Whether bytes are sealed, and by the newest key.
    pub fn is_current(&self, bytes: &[u8]) -> bool {
        let id = bytes.get(MAGIC.len()..HEADER_LEN - CODE_LEN);
        is_sealed(bytes) && id == Some(&self.newest().id)
    }

    fn newest(&self) -> &Key {
        self.keys.last().expect("there is at least one")
    }
}

impl Key {
    fn new(master: &[u8; KEY_LEN]) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master);
        let purpose = |name: &[u8]| hmac::sign(&master, name);
        let derived = |name| hmac::Key::new(hmac::HMAC_SHA256, purpose(name).as_ref());
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&purpose(b"tidegate seal 1 id").as_ref()[..KEY_ID_LEN]);
        Self {
            id,
            code: derived(b"tidegate seal 1 code"),
            derive: derived(b"tidegate seal 1 key"),
        }
    }

    fn opener(&self, code: &[u8]) -> Opener {
        let derived = hmac::sign(&self.derive, code);
        Opener::new(derived.as_ref()).expect("HMAC-SHA256 has 32 bytes")
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeys({} keys)", self.keys.len())
    }
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
    use super::*;

    const OLD: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const NEW: &str = "f00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn keys(lines: &[&str]) -> Result<SealKeys, SealKeysError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), lines.join("\n")).expect("a file");
        SealKeys::load(file.path())
    }

    #[test]
    fn sealing_is_deterministic_and_hides_the_text() {
        let keys = keys(&["# made today", OLD, ""]).expect("a key");
        let sealed = keys.seal(b"hunter2 hunter2");
        assert_eq!(sealed, keys.seal(b"hunter2 hunter2"));
        assert_ne!(sealed, keys.seal(b"hunter2 hunter3"));
        assert!(is_sealed(&sealed));
        assert!(!sealed.windows(7).any(|bytes| bytes == b"hunter2"));
        assert_eq!(keys.open(&sealed).as_deref(), Ok(&b"hunter2 hunter2"[..]));
    }

    #[test]
    fn the_newest_key_seals_and_all_open() {
        let (old, both, new) = (keys(&[OLD]), keys(&[OLD, NEW]), keys(&[NEW]));
        let (old, both, new) = (
            old.expect("a key"),
            both.expect("keys"),
            new.expect("a key"),
        );
        let sealed = old.seal(b"text");
        assert_eq!(both.open(&sealed).as_deref(), Ok(&b"text"[..]));
        assert!(old.is_current(&sealed) && !both.is_current(&sealed));
        assert!(both.is_current(&new.seal(b"text")));
        assert!(matches!(new.open(&sealed), Err(OpenError::NoKey { .. })));
    }

    #[test]
    fn an_opener_opens_its_text_and_no_other() {
        let keys = keys(&[OLD]).expect("a key");
        let (one, other) = (keys.seal(b"one"), keys.seal(b"other"));
        let opener = keys.opener(&one).expect("its key is ours");
        assert_eq!(opener.open(&one).as_deref(), Ok(&b"one"[..]));
        assert_eq!(opener.open(&other), Err(OpenError::Changed));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let keys = keys(&[OLD]).expect("a key");
        let sealed = keys.seal(b"text");
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(keys.open(&changed).is_err(), "byte {index}");
        }
        assert_eq!(keys.open(&sealed[..20]), Err(OpenError::NotSealed));
    }

    #[test]
    fn a_file_without_good_keys_is_refused_and_never_shown() {
        let error = keys(&[OLD, "c0ffee"]).expect_err("too short").to_string();
        assert!(error.contains(":2: a key is 64"), "{error}");
        assert!(!error.contains("c0ffee"), "{error}");
        assert!(matches!(keys(&[]), Err(SealKeysError::Count { .. })));
    }
}

//! Seals secrets, so that disks and backups do not hold them in the clear: AES-256-GCM, each text under a key of
//! its own.
//!
//! Sealing is deterministic: the same text under the same master key gives the same bytes, so whoever compares
//! digests of sealed bytes sees what changed and nothing else. The key of a text is derived from the master key and
//! a code of the text (as a synthetic nonce is), so no key ever seals two texts. An [`Opener`] opens one text.

mod file;
mod flags;
mod keys;
mod kms;

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

pub use file::{SealKeysError, add_key};
pub use flags::SealArgs;
pub use keys::SealKeys;
pub use kms::{Kms, KmsError};

/// What sealed bytes begin with. Neither JSON nor a protobuf message begins with a zero byte.
const MAGIC: &[u8; 8] = b"\0TGSEAL1";
const KEY_ID_LEN: usize = 8;
/// The code of the text, from which its key is derived.
const CODE_LEN: usize = 32;
const HEADER_LEN: usize = MAGIC.len() + KEY_ID_LEN + CODE_LEN;

/// Bytes by which a sealed text is longer than the text: header and tag.
pub const OVERHEAD: usize = HEADER_LEN + 16;

/// Names a master key and tells nothing about it; 16 hexadecimal digits in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; KEY_ID_LEN]);

/// The key of one sealed text; a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Opener([u8; 32]);

/// Why bytes were not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// They were not sealed by us, or only their beginning is there.
    #[error("it is not sealed")]
    NotSealed,
    /// The key is not among ours.
    #[error("it is sealed by key {id}, which is not given; add that key to the file of --seal-key")]
    NoKey {
        /// The key that is missing.
        id: KeyId,
    },
    /// They were changed, or the opener is another text's.
    #[error("it was changed, or sealed by another key")]
    Changed,
}

/// Whether bytes are sealed.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The master key that sealed bytes.
///
/// # Errors
/// When they are not sealed.
pub fn key_id(sealed: &[u8]) -> Result<KeyId, OpenError> {
    let (header, _) = parts(sealed)?;
    let mut id = [0; KEY_ID_LEN];
    id.copy_from_slice(&header[MAGIC.len()..MAGIC.len() + KEY_ID_LEN]);
    Ok(KeyId(id))
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Opener {
    /// The opener that [`Opener::expose`] gave out.
    ///
    /// # Errors
    /// It has 32 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, OpenError> {
        bytes.try_into().map(Self).map_err(|_| OpenError::Changed)
    }

    /// The bytes, to be sent to whom the text is meant for.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Opens the text.
    ///
    /// # Errors
    /// The bytes must be those that it belongs to.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (header, text) = parts(sealed)?;
        let mut text = text.to_vec();
        let opened = self
            .key()
            .open_in_place(nonce(), Aad::from(header), &mut text);
        let len = opened.map_err(|_| OpenError::Changed)?.len();
        text.truncate(len);
        Ok(text)
    }

    fn seal(&self, header: &[u8], text: &[u8]) -> Vec<u8> {
        let mut sealed = text.to_vec();
        self.key()
            .seal_in_place_append_tag(nonce(), Aad::from(header), &mut sealed)
            .expect("texts are far shorter than AES-GCM's bound of 64 GiB");
        [header, &sealed].concat()
    }

    fn key(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &self.0).expect("the key has 32 bytes");
        LessSafeKey::new(key)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener([redacted])")
    }
}

/// One nonce is enough: every key seals one text.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Header and sealed text.
fn parts(sealed: &[u8]) -> Result<(&[u8], &[u8]), OpenError> {
    let parts = sealed.split_at_checked(HEADER_LEN);
    parts
        .filter(|(header, _)| header.starts_with(MAGIC))
        .ok_or(OpenError::NotSealed)
}

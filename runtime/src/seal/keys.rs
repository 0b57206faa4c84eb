//! Master keys: the first seals, all of them open.

use std::fmt;

use aws_lc_rs::hmac;

use super::{CODE_LEN, KEY_ID_LEN, KeyId, MAGIC, OpenError, Opener, key_id, parts};

/// Bytes of a master key.
pub(super) const KEY_LEN: usize = 32;

/// The master keys; at least one.
#[derive(Clone)]
pub struct SealKeys {
    first: Key,
    others: Vec<Key>,
}

#[derive(Clone)]
pub(super) struct Key {
    id: KeyId,
    /// Makes the code of a text.
    code: hmac::Key,
    /// Makes the text's key of its code.
    derive: hmac::Key,
}

impl SealKeys {
    pub(super) fn new(first: Key, others: Vec<Key>) -> Self {
        Self { first, others }
    }

    /// Seals by the first key.
    pub fn seal(&self, text: &[u8]) -> Vec<u8> {
        let code = hmac::sign(&self.first.code, text);
        let header = [&MAGIC[..], &self.first.id.0, code.as_ref()].concat();
        self.first.opener(code.as_ref()).seal(&header, text)
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
        let id = key_id(sealed)?;
        let (header, _) = parts(sealed)?;
        let code = &header[MAGIC.len() + KEY_ID_LEN..];
        debug_assert_eq!(code.len(), CODE_LEN);
        let key = self.keys().find(|key| key.id == id);
        Ok(key.ok_or(OpenError::NoKey { id })?.opener(code))
    }

    /// Whether bytes are sealed, and by the first key.
    pub fn is_current(&self, bytes: &[u8]) -> bool {
        key_id(bytes).is_ok_and(|id| id == self.first.id)
    }

    /// The keys' ids; the first seals.
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys().map(|key| key.id).collect()
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl Key {
    pub(super) fn new(master: &[u8; KEY_LEN]) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master);
        let purpose = |name: &[u8]| hmac::sign(&master, name);
        let derived = |name| hmac::Key::new(hmac::HMAC_SHA256, purpose(name).as_ref());
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&purpose(b"tidegate seal 1 id").as_ref()[..KEY_ID_LEN]);
        Self {
            id: KeyId(id),
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
        write!(f, "SealKeys({} keys)", self.keys().count())
    }
}

#[cfg(test)]
mod tests {
    use crate::seal::is_sealed;

    use super::*;

    fn keys(masters: &[u8]) -> SealKeys {
        let mut keys = masters.iter().map(|byte| Key::new(&[*byte; KEY_LEN]));
        SealKeys::new(keys.next().expect("a key"), keys.collect())
    }

    #[test]
    fn sealing_is_deterministic_and_hides_the_text() {
        let keys = keys(&[1]);
        let sealed = keys.seal(b"hunter2 hunter2");
        assert_eq!(sealed, keys.seal(b"hunter2 hunter2"));
        assert_ne!(sealed, keys.seal(b"hunter2 hunter3"));
        assert!(is_sealed(&sealed));
        assert!(!sealed.windows(7).any(|bytes| bytes == b"hunter2"));
        assert_eq!(
            sealed.len(),
            b"hunter2 hunter2".len() + crate::seal::OVERHEAD
        );
        assert_eq!(keys.open(&sealed).as_deref(), Ok(&b"hunter2 hunter2"[..]));
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, both, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
        let sealed = old.seal(b"text");
        assert_eq!(both.open(&sealed).as_deref(), Ok(&b"text"[..]));
        assert!(old.is_current(&sealed) && !both.is_current(&sealed));
        assert!(both.is_current(&new.seal(b"text")));
        let id = old.ids()[0];
        assert_eq!(new.open(&sealed), Err(OpenError::NoKey { id }));
        assert_eq!(both.ids(), [new.ids()[0], id]);
    }

    #[test]
    fn an_opener_opens_its_text_and_no_other() {
        let keys = keys(&[1]);
        let (one, other) = (keys.seal(b"one"), keys.seal(b"other"));
        let opener = keys.opener(&one).expect("its key is ours");
        assert_eq!(opener.open(&one).as_deref(), Ok(&b"one"[..]));
        assert_eq!(opener.open(&other), Err(OpenError::Changed));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let keys = keys(&[1]);
        let sealed = keys.seal(b"text");
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(keys.open(&changed).is_err(), "byte {index}");
        }
        assert_eq!(keys.open(&sealed[..20]), Err(OpenError::NotSealed));
    }
}

//! What the log ended with when something was last acknowledged, kept apart from the log.
//!
//! sled takes a damaged tail for one that was never finished and forgets it. The witness tells the two apart: what it
//! knows of was acknowledged. Two places are written in turn, so that a torn write leaves the one before.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::{StoreError, directory::sync_dir};

const MAGIC: u64 = u64::from_be_bytes(*b"tgwitn01");
/// From one place to the next; each is within one page of the disk.
const PLACE_BYTES: u64 = 4_096;
/// Magic, sequence, last entry, chain, and three words of the vote.
const WORDS: usize = 7;
/// The words and their checksum.
const RECORD_BYTES: usize = WORDS * 8 + 4;

/// The end of a log and the vote beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The last entry; `None` where there was none.
    pub(crate) last: Option<u64>,
    /// The chain after it.
    pub(crate) chain: u64,
    /// Term, node and whether it was committed; zeros where there was no vote.
    pub(crate) vote: (u64, u64, bool),
}

/// The file of the witness.
#[derive(Debug)]
pub(crate) struct WitnessFile {
    path: PathBuf,
    file: File,
    sequence: u64,
    newest: Option<Witness>,
}

impl WitnessFile {
    /// Opens the file in `dir`, or creates it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when it has been written and neither place can be read.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("witness");
        let failed = |operation| StoreError::io(operation, &path);
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed("open"))?;
        let len = file.metadata().map_err(failed("read"))?.len();
        let places = [0, 1].map(|place| read(&file, place));
        let newest = places
            .into_iter()
            .flatten()
            .max_by_key(|(sequence, _)| *sequence);
        if newest.is_none() && len > 0 {
            return Err(StoreError::damaged(path, "no record of it can be read"));
        }
        sync_dir(dir)?;
        Ok(Self {
            path,
            file,
            sequence: newest.map_or(0, |(sequence, _)| sequence),
            newest: newest.map(|(_, witness)| witness),
        })
    }

    /// What was attested last; `None` where nothing ever was.
    pub(crate) fn newest(&self) -> Option<Witness> {
        self.newest
    }

    /// Returns when the witness is on the disk.
    pub(crate) fn attest(&mut self, witness: Witness) -> Result<(), StoreError> {
        if self.newest == Some(witness) {
            return Ok(());
        }
        self.sequence += 1;
        let place = (self.sequence % 2) * PLACE_BYTES;
        let written = self
            .file
            .write_all_at(&encode(self.sequence, &witness), place)
            .and_then(|()| self.file.sync_data());
        written.map_err(StoreError::io("write", &self.path))?;
        self.newest = Some(witness);
        Ok(())
    }
}

fn read(file: &File, place: u64) -> Option<(u64, Witness)> {
    let mut bytes = [0; RECORD_BYTES];
    file.read_exact_at(&mut bytes, place * PLACE_BYTES).ok()?;
    decode(&bytes)
}

fn encode(sequence: u64, witness: &Witness) -> [u8; RECORD_BYTES] {
    let (term, node, committed) = witness.vote;
    let last = witness.last.map_or(0, |last| last + 1);
    let words: [u64; WORDS] = [
        MAGIC,
        sequence,
        last,
        witness.chain,
        term,
        node,
        committed.into(),
    ];
    let mut bytes = [0; RECORD_BYTES];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    let crc = crc32c::crc32c(&bytes[..WORDS * 8]);
    bytes[WORDS * 8..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<(u64, Witness)> {
    let (words, crc) = bytes.split_at(WORDS * 8);
    if crc32c::crc32c(words).to_be_bytes() != crc {
        return None;
    }
    let mut words = words.chunks_exact(8).map(|word| {
        let word: [u8; 8] = word.try_into().expect("eight bytes");
        u64::from_be_bytes(word)
    });
    let mut next = || words.next().unwrap_or_default();
    if next() != MAGIC {
        return None;
    }
    let sequence = next();
    let last = next().checked_sub(1);
    let chain = next();
    let vote = (next(), next(), next() != 0);
    Some((sequence, Witness { last, chain, vote }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(last: u64) -> Witness {
        Witness {
            last: Some(last),
            chain: last * 31,
            vote: (3, 2, true),
        }
    }

    #[test]
    fn the_newest_record_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = WitnessFile::open(dir.path()).unwrap();
        assert_eq!(file.newest(), None);
        for last in 0..5 {
            file.attest(at(last)).unwrap();
        }
        let again = WitnessFile::open(dir.path()).unwrap();
        assert_eq!(again.newest(), Some(at(4)));
    }

    #[test]
    fn a_torn_record_leaves_the_one_before_and_two_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = WitnessFile::open(dir.path()).unwrap();
        file.attest(at(1)).unwrap();
        file.attest(at(2)).unwrap();
        let path = dir.path().join("witness");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let torn = WitnessFile::open(dir.path()).unwrap();
        assert_eq!(torn.newest(), Some(at(1)));
        bytes[PLACE_BYTES as usize + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let lost = WitnessFile::open(dir.path());
        assert!(matches!(lost, Err(StoreError::Damaged { .. })));
    }
}

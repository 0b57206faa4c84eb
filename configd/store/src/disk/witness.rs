//! The file `WITNESS`: how far the log was acknowledged, outside of the log's folder.
//!
//! Two places are written in turn, so that a torn write leaves the one before.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::settler::Settler;
use crate::{
    StoreError,
    directory::sync_dir,
    log::{Link, Witness},
};

const MAGIC: u64 = u64::from_be_bytes(*b"tgwitn02");
/// From one place to the next; each is within one page of the disk.
const PLACE_BYTES: u64 = 4_096;
/// Magic, turn, sequence and checksum of the last frame, its segment, its end.
const WORDS: usize = 6;
/// The words and their checksum.
const RECORD_BYTES: usize = WORDS * 8 + 4;

/// The file of the witness.
#[derive(Debug)]
pub(super) struct WitnessFile {
    path: PathBuf,
    open: Option<(File, Settler)>,
    /// How often it was written.
    turn: u64,
    newest: Option<Witness>,
}

impl WitnessFile {
    /// Opens the file of a data directory, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when there is one and neither place can be read.
    pub(super) fn open(data: &Path) -> Result<Self, StoreError> {
        let path = data.join("WITNESS");
        let file = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    path,
                    open: None,
                    turn: 0,
                    newest: None,
                });
            }
            file => file.map_err(StoreError::io("open", &path))?,
        };
        let places = [0, 1].map(|place| read(&file, place));
        let newest = places.into_iter().flatten().max_by_key(|(turn, _)| *turn);
        let Some((turn, newest)) = newest else {
            return Err(StoreError::damaged(path, "no record of it can be read"));
        };
        Ok(Self {
            open: Some(settled(&path, file)?),
            path,
            turn,
            newest: Some(newest),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was attested last; `None` where nothing ever was.
    pub(super) fn newest(&self) -> Option<Witness> {
        self.newest
    }

    /// Writes the witness, so that it outlives this process. A moment later it is on the disk, too.
    pub(super) fn attest(&mut self, witness: Witness) -> Result<(), StoreError> {
        if self.newest == Some(witness) {
            return Ok(());
        }
        self.turn += 1;
        let bytes = encode(self.turn, &witness);
        match &self.open {
            Some((file, settler)) => {
                let place = self.turn % 2 * PLACE_BYTES;
                let written = file.write_all_at(&bytes, place);
                let written = written.and_then(|()| settler.written());
                written.map_err(StoreError::io("write", &self.path))?;
            }
            None => self.open = Some(create(&self.path, &bytes)?),
        }
        self.newest = Some(witness);
        Ok(())
    }

    /// Returns when the witness is on the disk.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        match &self.open {
            Some((file, _)) => file.sync_data().map_err(StoreError::io("sync", &self.path)),
            None => Ok(()),
        }
    }
}

/// Makes the file with both places written, under its name only when it is whole.
fn create(path: &Path, record: &[u8]) -> Result<(File, Settler), StoreError> {
    let unfinished = path.with_extension("tmp");
    let created = File::create(&unfinished).and_then(|file| {
        file.set_len(2 * PLACE_BYTES)?;
        file.write_all_at(record, 0)?;
        file.write_all_at(record, PLACE_BYTES)?;
        file.sync_all()?;
        Ok(file)
    });
    let file = created.map_err(StoreError::io("create", &unfinished))?;
    fs::rename(&unfinished, path).map_err(StoreError::io("rename", &unfinished))?;
    if let Some(data) = path.parent() {
        sync_dir(data)?;
    }
    settled(path, file)
}

fn settled(path: &Path, file: File) -> Result<(File, Settler), StoreError> {
    let settler = file.try_clone().and_then(Settler::start);
    let settler = settler.map_err(StoreError::io("start a thread to sync", path))?;
    Ok((file, settler))
}

fn read(file: &File, place: u64) -> Option<(u64, Witness)> {
    let mut bytes = [0; RECORD_BYTES];
    file.read_exact_at(&mut bytes, place * PLACE_BYTES).ok()?;
    decode(&bytes)
}

fn encode(turn: u64, witness: &Witness) -> [u8; RECORD_BYTES] {
    let Witness { link, segment, end } = *witness;
    let words: [u64; WORDS] = [MAGIC, turn, link.sequence, link.crc.into(), segment, end];
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
    let word = |at: usize| -> Option<u64> {
        let word = words.get(at * 8..at * 8 + 8)?;
        Some(u64::from_be_bytes(word.try_into().ok()?))
    };
    if word(0)? != MAGIC {
        return None;
    }
    let link = Link {
        sequence: word(2)?,
        crc: u32::try_from(word(3)?).ok()?,
    };
    let (segment, end) = (word(4)?, word(5)?);
    Some((word(1)?, Witness { link, segment, end }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(sequence: u64) -> Witness {
        let crc = 31;
        Witness {
            link: Link { sequence, crc },
            segment: 2,
            end: sequence * PLACE_BYTES,
        }
    }

    #[test]
    fn the_newest_record_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = WitnessFile::open(dir.path()).unwrap();
        assert_eq!(file.newest(), None);
        for sequence in 0..5 {
            file.attest(at(sequence)).unwrap();
        }
        drop(file);
        let again = WitnessFile::open(dir.path()).unwrap();
        assert_eq!(again.newest(), Some(at(4)));
    }

    #[test]
    fn a_torn_record_leaves_the_one_before_and_two_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = WitnessFile::open(dir.path()).unwrap();
        for sequence in 1..4 {
            file.attest(at(sequence)).unwrap();
        }
        let path = dir.path().join("WITNESS");
        let mut bytes = fs::read(&path).unwrap();
        let (torn, other) = match decode(bytes[..RECORD_BYTES].try_into().unwrap()) {
            Some((3, _)) => (0, PLACE_BYTES as usize),
            _ => (PLACE_BYTES as usize, 0),
        };
        bytes[torn + 20] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(WitnessFile::open(dir.path()).unwrap().newest(), Some(at(2)));
        bytes[other + 20] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let lost = WitnessFile::open(dir.path());
        assert!(matches!(lost, Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn an_emptied_file_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("WITNESS"), "").unwrap();
        let opened = WitnessFile::open(dir.path());
        assert!(matches!(opened, Err(StoreError::Damaged { .. })));
    }
}

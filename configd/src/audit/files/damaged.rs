//! Damage to the files of the audit log: nothing is taken for a record that was not written, and what cannot go on says which
//! file is to blame.

use super::*;
use crate::audit::record::Event;

const FILES: u64 = 4;
const RECORDS_EACH: u64 = 10;
const TRIALS: u64 = 600;

/// Numbers from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64)
            .expect("it is below the bound")
    }
}

fn write_all(folder: &Path) {
    let (mut files, mut head) = Files::open(folder).expect("the folder is usable");
    for number in 0..FILES * RECORDS_EACH {
        let event = Event {
            caller: format!("caller-{number}"),
            ..Event::default()
        };
        let line = head.append(event, 7, 0);
        files.append(head.number, &[line]).expect("there is room");
        if (number + 1).is_multiple_of(RECORDS_EACH) {
            files.len = FILE_BYTES_MAX;
        }
    }
}

/// One or two faults in the files of a folder.
fn damage(folder: &Path, chance: &mut Chance) -> String {
    let mut text = String::new();
    for _ in 0..=chance.below(2) {
        let files = paths(folder).expect("a folder");
        let Some(path) = files.get(chance.below(files.len())) else {
            continue;
        };
        let mut bytes = fs::read(path).expect("a file");
        let at = chance.below(bytes.len());
        let kind = chance.below(6);
        text += &format!("{kind} at {at} of {}; ", path.display());
        match kind {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << chance.below(8),
            1 => bytes.truncate(at),
            2 => bytes.clear(),
            3 => {
                let end = bytes.len().min(at + 100);
                bytes[at..end].fill(0);
            }
            4 => {
                fs::remove_file(path).expect("a file");
                continue;
            }
            _ => bytes.extend_from_within(at..),
        }
        fs::write(path, bytes).expect("a file");
    }
    text
}

fn records(folder: &Path) -> (Vec<Record>, Result<(), AuditError>) {
    let mut records = Vec::new();
    let outcome = read(folder, &mut |record| records.push(record));
    (records, outcome.map(drop))
}

fn is_in(folder: &Path, error: &AuditError) -> bool {
    let (AuditError::Io { path, .. } | AuditError::Broken { path, .. }) = error;
    path.starts_with(folder) && *path != folder
}

#[test]
fn no_record_is_taken_for_one_that_was_not_written_whatever_is_done_to_the_files() {
    let (mut found, mut gone_on) = (0, 0);
    for seed in 0..TRIALS {
        let folder = tempfile::tempdir().expect("a folder");
        write_all(folder.path());
        let (before, _) = records(folder.path());
        let faults = damage(folder.path(), &mut Chance(seed));
        let (after, outcome) = records(folder.path());
        for (place, record) in after.iter().enumerate() {
            let written = &before[usize::try_from(record.number).expect("a number") - 1];
            assert_eq!(record, written, "seed {seed}: {faults}");
            // Without a gap, from some record on.
            assert_eq!(
                record.number,
                after[0].number + place as u64,
                "seed {seed}: {faults}"
            );
        }
        if let Err(error) = &outcome {
            assert!(
                is_in(folder.path(), error),
                "seed {seed}: {faults}: {error}"
            );
            found += 1;
        }
        match Files::open(folder.path()) {
            Err(error) => assert!(
                is_in(folder.path(), &error),
                "seed {seed}: {faults}: {error}"
            ),
            Ok((mut files, mut head)) => {
                let line = head.append(Event::default(), 8, 0);
                files.append(head.number, &[line]).expect("there is room");
                let (longer, again) = records(folder.path());
                assert_eq!(again.is_ok(), outcome.is_ok(), "seed {seed}: {faults}");
                assert!(
                    outcome.is_err() || longer.len() == after.len() + 1,
                    "seed {seed}: {faults}"
                );
                gone_on += 1;
            }
        }
    }
    assert!(
        found > 100 && gone_on > 100,
        "{found} found, {gone_on} went on"
    );
}

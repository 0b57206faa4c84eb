//! One fault in one file of a data directory.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::chance::Chance;

/// What a disk calls a page.
const PAGE: usize = 4_096;

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One bit is the other one.
    FlippedBit,
    /// A page of 4 KiB is zeros.
    ZeroedPage,
    /// A page of 4 KiB is what it was some time ago.
    StalePage,
    /// The end is missing.
    Truncated,
    /// Nothing is in it.
    Emptied,
    /// It is gone.
    Missing,
    /// Its folder is gone.
    FolderMissing,
    /// A file lies beside it that somebody did not finish.
    Leftover,
}

const KINDS: [Kind; 8] = [
    Kind::FlippedBit,
    Kind::ZeroedPage,
    Kind::StalePage,
    Kind::Truncated,
    Kind::Emptied,
    Kind::Missing,
    Kind::FolderMissing,
    Kind::Leftover,
];

/// A fault that was made.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What kind of file it hit, such as `log/*.log` or `blobs/*.pack`.
    pub class: String,
    /// What was done.
    pub kind: Kind,
    /// To which file, and where.
    pub place: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}", self.kind, self.class, self.place)
    }
}

/// Several faults, one after the other.
#[must_use]
pub fn in_words(faults: &[Fault]) -> String {
    let words: Vec<_> = faults.iter().map(Fault::to_string).collect();
    words.join(" and ")
}

/// Makes one fault below `dir`; `earlier` is what the directory was some time ago.
///
/// # Errors
/// As the system says.
pub fn inject(dir: &Path, earlier: &Path, chance: &mut Chance) -> anyhow::Result<Fault> {
    let classes: Vec<_> = classes(dir)?.into_iter().collect();
    let log: Vec<_> = classes
        .iter()
        .filter(|(class, _)| class == "log/*.log")
        .cloned()
        .collect();
    // The files in which everything acknowledged is get more than their share.
    let is_log = chance.once_in(3) && !log.is_empty();
    let from = if is_log { &log } else { &classes };
    let (class, files) = chance.pick(from).context("the directory is empty")?;
    let file = chance.pick(files).context("a class has a file")?;
    let kind = *chance.pick(&KINDS).context("there are kinds")?;
    let older = fs::read(earlier.join(file)).unwrap_or_default();
    let place = damage((dir, file), kind, &older, chance)?;
    Ok(Fault {
        class: class.clone(),
        kind,
        place: format!("{} {place}", file.display()),
    })
}

/// The files below a directory by what they are.
fn classes(dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut classes: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(dir.join(&folder))?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                classes.entry(class(&path)).or_default().push(path);
            }
        }
    }
    Ok(classes)
}

/// `0000000000000002.log` and `0000000000000010.image` are named by numbers; those of one class are one.
fn class(path: &Path) -> String {
    let text = path.to_string_lossy();
    let words = text.split_inclusive(['/', '.']);
    let word = |word: &str| {
        let (stem, end) = word.split_at(word.trim_end_matches(['/', '.']).len());
        let is_number = stem.len() == 16 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
        format!("{}{end}", if is_number { "*" } else { stem })
    };
    words.map(word).collect()
}

fn damage(
    (dir, file): (&Path, &Path),
    kind: Kind,
    older: &[u8],
    chance: &mut Chance,
) -> anyhow::Result<String> {
    let path = &*dir.join(file);
    let mut bytes = fs::read(path)?;
    let at = usize::try_from(chance.below(bytes.len() as u64))?;
    let page = at / PAGE * PAGE;
    let end = bytes.len().min(page + PAGE);
    let place = match kind {
        Kind::FlippedBit => {
            let bit = chance.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
            format!("byte {at} of {}, bit {bit}", bytes.len())
        }
        Kind::ZeroedPage => {
            bytes[page..end].fill(0);
            format!("byte {page} to {end} of {}", bytes.len())
        }
        Kind::StalePage => {
            let end = end.min(older.len());
            if let Some(stale) = older.get(page..end) {
                bytes[page..end].copy_from_slice(stale);
            }
            format!("byte {page} to {end} of {}", bytes.len())
        }
        Kind::Truncated => {
            // Where a file system would: at a page; or anywhere.
            let to = if chance.once_in(2) { page } else { at };
            let len = bytes.len();
            bytes.truncate(to);
            format!("to {to} of {len} bytes")
        }
        Kind::Emptied => {
            bytes.clear();
            String::new()
        }
        Kind::Missing => {
            fs::remove_file(path)?;
            return Ok(String::new());
        }
        Kind::FolderMissing => return remove_folder(dir, path),
        Kind::Leftover => return leave(path, &bytes[..at], chance),
    };
    fs::write(path, bytes)?;
    Ok(place)
}

/// A file of the data directory itself goes alone: without the directory there is nothing to open.
fn remove_folder(dir: &Path, path: &Path) -> anyhow::Result<String> {
    match path.parent() {
        Some(folder) if folder != dir => fs::remove_dir_all(folder)?,
        _ => fs::remove_file(path)?,
    }
    Ok(String::new())
}

fn leave(path: &Path, part: &[u8], chance: &mut Chance) -> anyhow::Result<String> {
    let folder = path.parent().context("a file is in a folder")?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let names = [
        format!("{stem}.tmp"),
        "00000000000000ff.tmp".to_owned(),
        format!("{name}.tmp"),
        "ffffffffffffffff.tmp".to_owned(),
        format!("{name}~"),
        "lost+found".to_owned(),
        ".nfs0000000000000001".to_owned(),
    ];
    let left = chance.pick(&names).context("there are names")?;
    fs::write(folder.join(left), part)?;
    Ok(format!("as {left}, {} bytes", part.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_differ_by_a_number_are_of_one_class() {
        let named = |path: &str| class(Path::new(path));
        assert_eq!(named("images/000000000000002a.image"), "images/*.image");
        assert_eq!(named("log/000000000000000a.log"), "log/*.log");
        assert_eq!(named("IDENTITY"), "IDENTITY");
    }
}

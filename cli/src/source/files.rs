//! Finds the files behind the paths that a user names, and reads them within bounds.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::codes;
use super::yaml::{Document, InvalidYaml, parse_json, parse_yaml};
use crate::finding::{Finding, Place, Severity};

/// Largest file, in bytes.
pub(crate) const FILE_LEN_MAX: u64 = 64 << 20;
/// Most files behind the paths together.
const FILES_MAX: usize = 100_000;
/// Deepest folder below a path.
const FOLDER_DEPTH_MAX: usize = 32;

/// Tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature {
    modified_ns: i128,
    len: u64,
    inode: u64,
}

impl Signature {
    /// The signature of the file now, absent where there is no file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            modified_ns: i128::from(metadata.mtime()) * 1_000_000_000
                + i128::from(metadata.mtime_nsec()),
            len: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

/// The files behind the paths: the paths that are files, and every `*.yaml`, `*.yml` and `*.json`
/// in and below the paths that are folders. Hidden files and folders are left out.
pub(crate) fn list_files(roots: &[PathBuf], findings: &mut Vec<Finding>) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for root in roots {
        if root.is_dir() {
            list_folder(root, 0, &mut files, findings);
        } else if root.exists() {
            files.insert(root.clone());
        } else {
            let message = "there is no such file or folder".to_owned();
            findings.push(unreadable(root, message));
        }
    }
    files
}

fn list_folder(
    folder: &Path,
    depth: usize,
    files: &mut BTreeSet<PathBuf>,
    findings: &mut Vec<Finding>,
) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => return findings.push(unreadable(folder, format!("cannot be read: {e}"))),
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || files.len() >= FILES_MAX {
            continue;
        }
        if path.is_dir() {
            if depth < FOLDER_DEPTH_MAX {
                list_folder(&path, depth + 1, files, findings);
            }
        } else if is_manifest(&path) {
            files.insert(path);
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json")
}

/// Reads the documents of a file, or says why not.
pub(crate) fn read_file(path: &Arc<Path>) -> Result<Vec<Document>, Box<Finding>> {
    let text = read_text(path)?;
    parse_text(path, &text)
}

/// Reads the documents of a text that stands for a file.
pub(crate) fn parse_text(path: &Arc<Path>, text: &str) -> Result<Vec<Document>, Box<Finding>> {
    let is_json = path.extension().is_some_and(|ext| ext == "json");
    let documents = if is_json {
        parse_json(text)
    } else {
        parse_yaml(text)
    };
    let finding = |error: InvalidYaml| Finding {
        place: Some(Place::new(path, Some(error.position))),
        severity: Severity::Error,
        code: codes::NOT_YAML.to_owned(),
        object: String::new(),
        field: String::new(),
        message: format!(
            "not valid {}: {error}",
            if is_json { "JSON" } else { "YAML" }
        ),
    };
    documents.map_err(|error| Box::new(finding(error)))
}

fn read_text(path: &Path) -> Result<String, Box<Finding>> {
    let failed = |e: std::io::Error| Box::new(unreadable(path, format!("cannot be read: {e}")));
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        let message = "larger than 64 MiB; split it into several files".to_owned();
        return Err(Box::new(Finding {
            code: codes::TOO_LARGE.to_owned(),
            ..unreadable(path, message)
        }));
    }
    String::from_utf8(bytes).map_err(|_| {
        unreadable(path, "not text in UTF-8; is this a binary file?".to_owned()).into()
    })
}

fn unreadable(path: &Path, message: String) -> Finding {
    Finding {
        place: Some(Place::new(&Arc::from(path), None)),
        severity: Severity::Error,
        code: codes::UNREADABLE.to_owned(),
        object: String::new(),
        field: String::new(),
        message,
    }
}

//! The objects of a set of files, kept at their last good version while a file is broken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::codes;
use super::files::{Signature, list_files, parse_text, read_file};
use super::object::{FileKey, FileObject, read_document};
use super::yaml::Document;
use crate::finding::{Finding, Severity};

/// A field and what is wrong with it.
pub(crate) type FieldProblem = (String, String);

/// What is known about kinds; the compiler's answers, as functions so that tests can give others.
#[derive(Clone, Copy)]
pub(crate) struct Schema {
    /// What a group and a kind are to Tidegate.
    pub(crate) kind: fn(&str, &str) -> KindIs,
    /// What is wrong inside of an object.
    pub(crate) check: fn(&FileKey, &[u8]) -> Vec<FieldProblem>,
}

/// What a kind is to Tidegate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KindIs {
    Read,
    /// Somebody else's.
    Foreign,
    /// Nobody's, most likely; which one is meant.
    Mistaken(String),
}

/// An object as the file source sees it.
#[derive(Debug, Clone)]
pub(crate) struct SourceObject {
    pub(crate) object: FileObject,
    /// Derived from the key, so it is the same after a restart.
    pub(crate) uid: String,
    /// From 1; one more each time that something besides metadata changes.
    pub(crate) generation: i64,
    /// What the file states, else the order of first sight: 1, 2, 3 seconds after 1970 began, which
    /// keeps the order and makes the first route of the first file the oldest one.
    pub(crate) created_at_unix_s: i64,
    /// The object as JSON.
    pub(crate) content: Bytes,
}

/// What the files say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    pub(crate) objects: BTreeMap<FileKey, SourceObject>,
    /// Ordered, without duplicates.
    pub(crate) findings: Vec<Finding>,
}

/// A set of files that is read again when some of them change.
pub(crate) struct FileSet {
    roots: Vec<PathBuf>,
    schema: Schema,
    texts: BTreeMap<PathBuf, String>,
    files: BTreeMap<PathBuf, LoadedFile>,
    seen: HashMap<FileKey, Seen>,
    root_findings: Vec<Finding>,
}

struct LoadedFile {
    signature: Option<Signature>,
    objects: Vec<FileObject>,
    findings: Vec<Finding>,
}

struct Seen {
    order: i64,
    generation: i64,
    digest: [u8; 32],
}

impl FileSet {
    /// A set that has read nothing yet.
    pub(crate) fn new(roots: Vec<PathBuf>, schema: Schema) -> Self {
        Self {
            roots,
            schema,
            texts: BTreeMap::new(),
            files: BTreeMap::new(),
            seen: HashMap::new(),
            root_findings: Vec::new(),
        }
    }

    /// Adds a text that stands for a file, such as standard input.
    pub(crate) fn add_text(&mut self, name: &str, text: String) {
        self.texts.insert(PathBuf::from(name), text);
    }

    /// The paths that were given.
    pub(crate) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Reads what changed: files with another signature, and those whose name is in `touched`. Says
    /// whether there was any.
    pub(crate) fn refresh(&mut self, touched: &BTreeSet<OsString>) -> bool {
        let mut findings = Vec::new();
        let mut paths = list_files(&self.roots, &mut findings);
        let mut changed = findings != self.root_findings;
        self.root_findings = findings;
        paths.extend(self.texts.keys().cloned());
        let before = self.files.len();
        self.files.retain(|path, _| paths.contains(path));
        changed |= self.files.len() != before;
        for path in paths {
            let signature = Signature::of(&path);
            let is_touched = path.file_name().is_some_and(|name| touched.contains(name));
            let is_current = self
                .files
                .get(&path)
                .is_some_and(|f| f.signature == signature);
            if is_touched || !is_current {
                self.read(path, signature);
                changed = true;
            }
        }
        changed
    }

    fn read(&mut self, path: PathBuf, signature: Option<Signature>) {
        let shared: Arc<Path> = Arc::from(path.as_path());
        let documents = match self.texts.get(&path) {
            Some(text) => parse_text(&shared, text),
            None => read_file(&shared),
        };
        let before = self
            .files
            .remove(&path)
            .map(|file| file.objects)
            .unwrap_or_default();
        let file = match documents {
            Ok(documents) => self.check(&shared, documents, before, signature),
            Err(finding) => LoadedFile {
                signature,
                objects: before,
                findings: vec![*finding],
            },
        };
        self.files.insert(path, file);
    }

    /// Takes the valid objects, and the last good version of the others.
    fn check(
        &self,
        path: &Arc<Path>,
        documents: Vec<Document>,
        before: Vec<FileObject>,
        signature: Option<Signature>,
    ) -> LoadedFile {
        let mut findings = Vec::new();
        let read = |document| read_document(path, document, self.schema.kind, &mut findings);
        let read: Vec<_> = documents.into_iter().flat_map(read).collect();
        let mut objects = Vec::new();
        if findings.iter().any(|f| f.severity == Severity::Error) {
            // Any of those that are not there anymore may be what that document was.
            let is_gone = |old: &&FileObject| read.iter().all(|object| object.key != old.key);
            objects.extend(before.iter().filter(is_gone).cloned());
        }
        for object in read {
            let old = before.iter().find(|old| old.key == object.key);
            if old.is_some_and(|old| old.value == object.value) {
                objects.push(object);
                continue;
            }
            let content = object.value.to_string();
            let problems = (self.schema.check)(&object.key, content.as_bytes());
            if problems.is_empty() {
                objects.push(object);
            } else {
                findings.extend(problems.into_iter().map(|(field, message)| {
                    object.finding(Severity::Error, codes::INVALID_OBJECT, &field, message)
                }));
                objects.extend(old.cloned());
            }
        }
        LoadedFile {
            signature,
            objects,
            findings,
        }
    }

    /// The objects of all files together, and everything there is to say about them.
    pub(crate) fn contents(&mut self) -> Contents {
        let mut contents = Contents {
            findings: self.root_findings.clone(),
            ..Contents::default()
        };
        for file in self.files.values() {
            contents.findings.extend(file.findings.iter().cloned());
            for object in &file.objects {
                if let Some(first) = contents.objects.get(&object.key) {
                    contents.findings.push(duplicate(object, &first.object));
                    continue;
                }
                let seen = see(&mut self.seen, object);
                contents
                    .objects
                    .insert(object.key.clone(), source_object(object, seen));
            }
        }
        contents.findings.sort();
        contents.findings.dedup();
        contents
    }
}

fn see<'a>(seen: &'a mut HashMap<FileKey, Seen>, object: &FileObject) -> &'a Seen {
    let digest = digest_without_metadata(&object.value);
    let order = seen.len() as i64 + 1;
    let entry = seen.entry(object.key.clone()).or_insert(Seen {
        order,
        generation: 1,
        digest,
    });
    if entry.digest != digest {
        entry.digest = digest;
        entry.generation += 1;
    }
    entry
}

fn source_object(object: &FileObject, seen: &Seen) -> SourceObject {
    SourceObject {
        object: object.clone(),
        uid: uid_of(&object.key),
        generation: seen.generation,
        created_at_unix_s: object.created_at_unix_s.unwrap_or(seen.order),
        content: object.value.to_string().into(),
    }
}

fn duplicate(object: &FileObject, first: &FileObject) -> Finding {
    let message = format!(
        "defined twice; {} is used, so delete or rename this one",
        first.place("")
    );
    object.finding(Severity::Error, codes::DUPLICATE, "", message)
}

fn digest_without_metadata(value: &Value) -> [u8; 32] {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("metadata");
    }
    Sha256::digest(value.to_string().as_bytes()).into()
}

/// Looks like any other uid, and says the same for the same key.
pub(crate) fn uid_of(key: &FileKey) -> String {
    let name = format!("{}/{}/{}/{}", key.group, key.kind, key.namespace, key.name);
    let digest = Sha256::digest(name.as_bytes());
    let hex: String = digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests;

//! Compiles files without configd, for the tools that need no running Tidegate.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use tidegate_compiler::{Compilation, Object, ObjectKey, Pooling, Settings};
use tidegate_ir::Snapshot;

use crate::desired::{CONTROLLER_NAME, DesiredSet, SOURCE, offline_set};
use crate::finding::{Finding, Severity};
use crate::schema::COMPILER_SCHEMA;
use crate::source::files::FILE_LEN_MAX;
use crate::source::object::FileKey;
use crate::source::set::{Contents, FileSet};

/// The pool of everything that one `tidegate up` serves.
pub(crate) const POOL: &str = "default";

/// The settings of the standalone mode.
pub(crate) fn settings() -> Settings {
    Settings {
        addresses: vec![],
        controller_name: CONTROLLER_NAME.into(),
        pooling: Pooling::Single { pool: POOL.into() },
    }
}

/// Opens the files behind paths; `-` is standard input.
pub(crate) fn open_files(paths: &[PathBuf]) -> anyhow::Result<FileSet> {
    let (stdin, roots): (Vec<_>, Vec<_>) = paths
        .iter()
        .cloned()
        .partition(|path| path.as_os_str() == "-");
    let mut files = FileSet::new(roots, COMPILER_SCHEMA);
    if !stdin.is_empty() {
        let mut text = String::new();
        std::io::stdin()
            .take(FILE_LEN_MAX + 1)
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        ensure!(
            text.len() as u64 <= FILE_LEN_MAX,
            "standard input is larger than 64 MiB; split it"
        );
        files.add_text("-", text);
    }
    files.refresh(&BTreeSet::new());
    Ok(files)
}

/// What files say and what the compiler makes of it.
pub(crate) struct Offline {
    pub(crate) contents: Contents,
    pub(crate) notes: Vec<String>,
    pub(crate) compilation: Compilation,
}

impl Offline {
    /// Reads and compiles.
    pub(crate) fn load(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let contents = open_files(paths)?.contents();
        let (set, notes) = offline_set(&contents.objects);
        let compilation = tidegate_compiler::compile(compiler_objects(&set), &settings());
        Ok(Self {
            contents,
            notes,
            compilation,
        })
    }

    /// The snapshot that a worker would serve; version 0, since nobody committed it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let parts = self.compilation.pools.get(POOL);
        Snapshot::new(
            POOL,
            0,
            parts.into_iter().flat_map(|parts| parts.values().cloned()),
        )
    }

    /// Everything there is to say, from the files and from the compiler, in order.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.contents.findings.clone();
        for diagnostic in self.compilation.diagnostics.keys() {
            let severity = match diagnostic.severity {
                tidegate_compiler::Severity::Error => Severity::Error,
                tidegate_compiler::Severity::Warning => Severity::Warning,
                tidegate_compiler::Severity::Info => Severity::Info,
            };
            findings.push(place_finding(
                &self.contents,
                &diagnostic.key,
                severity,
                diagnostic.code,
                &diagnostic.field,
                diagnostic.message.clone(),
            ));
        }
        findings.sort();
        findings.dedup();
        findings
    }
}

/// A finding about an object, with the place in the file that the object comes from.
pub(crate) fn place_finding(
    contents: &Contents,
    key: &ObjectKey,
    severity: Severity,
    code: &str,
    field: &str,
    message: String,
) -> Finding {
    let file_key = FileKey {
        group: key.group().to_string(),
        kind: key.kind().to_string(),
        namespace: key.namespace().to_string(),
        name: key.name().to_string(),
    };
    match contents.objects.get(&file_key) {
        Some(object) => object.object.finding(severity, code, field, message),
        None => Finding {
            place: None,
            severity,
            code: code.to_owned(),
            object: file_key.title(),
            field: field.to_owned(),
            message,
        },
    }
}

fn compiler_objects(set: &DesiredSet) -> Vec<Object> {
    let object = |(key, object): (&FileKey, &crate::desired::DesiredObject)| Object {
        key: ObjectKey::new(SOURCE, &key.group, &key.kind, &key.namespace, &key.name),
        uid: object.uid.clone(),
        generation: object.generation,
        created_at_unix_s: object.created_at_unix_s,
        content: object.content.clone(),
    };
    set.iter().map(object).collect()
}

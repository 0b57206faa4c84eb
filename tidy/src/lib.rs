//! What the tidy tests read: the workspace's packages and the files that git tracks.
//!
//! Every function panics with a sentence when the repository cannot be read: there is nothing that a
//! test could do then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A package of the workspace, as its manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The name without the `tidegate-` before it, such as `router`.
    pub name: String,
    /// Every dependency, ours and others', of every kind.
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependency tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The package's name; ours without the `tidegate-`.
    pub name: String,
    /// Whether it is one of ours.
    pub is_ours: bool,
    /// Whether only tests and examples see it.
    pub is_dev: bool,
    /// The features that are asked for.
    pub features: Vec<String>,
}

/// A tracked file with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// The path from the root, with `/`.
    pub path: String,
    /// The content as it is in the working tree.
    pub text: String,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    // Read when the test runs: clones that share a target folder share the compiled test.
    let tidy = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    tidy.parent().expect("tidy lies below the root").to_owned()
}

/// The packages of the workspace, by name.
pub fn packages() -> Vec<Package> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version=1"];
    let metadata = output(&cargo, &arguments);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata prints JSON");
    let mut packages: Vec<_> = array(&metadata["packages"]).map(package).collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

/// The tracked text files whose path ends with `suffix`; what is deleted but still tracked, and
/// what is not UTF-8, is left out.
///
/// In a tree without git (an unpacked source archive) every file outside of `target` counts.
pub fn files(suffix: &str) -> Vec<TextFile> {
    let root = root();
    let tracked = if root.join(".git").exists() {
        output("git", &["ls-files", "-z"])
            .split('\0')
            .map(str::to_owned)
            .collect()
    } else {
        walk(&root, "")
    };
    let read = |path: String| {
        let text = fs::read_to_string(root.join(&path)).ok()?;
        Some(TextFile { path, text })
    };
    let wanted = tracked
        .into_iter()
        .filter(|path| path.ends_with(suffix) && !path.is_empty());
    wanted.filter_map(read).collect()
}

/// Fails with all `findings`, one per line, under `rule`.
///
/// # Panics
/// When there is a finding.
#[track_caller]
pub fn assert_none(rule: &str, findings: &[String]) {
    assert!(
        findings.is_empty(),
        "{rule}:\n  {}\n",
        findings.join("\n  ")
    );
}

fn output(program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output();
    let ran = ran.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success(),
        "{program} {arguments:?} failed: {complaint}"
    );
    String::from_utf8(ran.stdout).expect("paths and JSON are UTF-8")
}

fn walk(root: &Path, below: &str) -> Vec<String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(root.join(below)).expect("the tree is readable");
    for entry in entries {
        let entry = entry.expect("the tree is readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        match entry.file_type().expect("the tree is readable") {
            kind if kind.is_dir() && path != "target" => found.extend(walk(root, &path)),
            kind if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found
}

fn package(package: &Value) -> Package {
    Package {
        name: own_name(text(&package["name"])).0,
        dependencies: array(&package["dependencies"]).map(dependency).collect(),
    }
}

fn dependency(dependency: &Value) -> Dependency {
    let (name, is_ours) = own_name(text(&dependency["name"]));
    Dependency {
        name,
        is_ours,
        is_dev: dependency["kind"] == "dev",
        features: array(&dependency["features"])
            .map(|name| text(name).to_owned())
            .collect(),
    }
}

fn own_name(name: &str) -> (String, bool) {
    match name.strip_prefix("tidegate-") {
        Some(own) => (own.to_owned(), true),
        None => (name.to_owned(), false),
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value
        .as_array()
        .expect("cargo metadata has a list here")
        .iter()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo metadata has a string here")
}

//! The clippy configurations: a pure crate's file replaces the workspace's, so it must repeat it.

use std::collections::BTreeSet;
use std::fs;

use tidegate_tidy::{assert_none, files, root};

const PURE: [&str; 4] = ["ir", "configd/compiler", "worker/codec", "worker/router"];

fn rules(folder: &str) -> BTreeSet<String> {
    let path = root().join(folder).join("clippy.toml");
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    let lines = text.lines().map(str::trim);
    let rules = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rules.map(str::to_owned).collect()
}

#[test]
fn pure_crates_repeat_the_rules_of_the_workspace() {
    let common = rules("");
    for folder in PURE {
        let missing: Vec<_> = common.difference(&rules(folder)).cloned().collect();
        assert_none(
            &format!("{folder}/clippy.toml lacks rules of the root's"),
            &missing,
        );
    }
}

#[test]
fn pure_crates_have_the_same_rules() {
    let first = rules(PURE[0]);
    for folder in &PURE[1..] {
        let other: Vec<_> = first
            .symmetric_difference(&rules(folder))
            .cloned()
            .collect();
        assert_none(
            &format!("{folder}/clippy.toml differs from {}/clippy.toml", PURE[0]),
            &other,
        );
    }
}

#[test]
fn every_ban_has_a_reason() {
    for folder in PURE.into_iter().chain([""]) {
        let silent = rules(folder)
            .into_iter()
            .filter(|rule| rule.starts_with("{ path") && !rule.contains("reason = \""));
        let silent: Vec<_> = silent.collect();
        assert_none(
            &format!("{folder}/clippy.toml bans without a reason"),
            &silent,
        );
    }
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    let manifests = files("Cargo.toml");
    // A workspace of its own, as fuzzing needs it, has no lints to take over.
    let packages = manifests.iter().filter(|manifest| {
        manifest.text.contains("[package]") && !manifest.text.contains("\n[workspace]\n")
    });
    let without = packages.filter(|manifest| !manifest.text.contains("[lints]\nworkspace = true"));
    let without: Vec<_> = without.map(|manifest| manifest.path.clone()).collect();
    assert_none("a manifest says `[lints] workspace = true`", &without);
}

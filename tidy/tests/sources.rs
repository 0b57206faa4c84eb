//! How source files are named, opened and bounded, and what they must not contain.

use tidegate_tidy::{TextFile, assert_none, files};

/// The longest source file, in lines.
const LINES_MAX: usize = 800;

/// Names that say nothing about the content.
const BANNED_NAMES: [&str; 9] = [
    "mod", "util", "utils", "common", "helper", "helpers", "misc", "stuff", "manager",
];

/// Files that may hold `unsafe`, each with the reason.
const UNSAFE_FILES: [(&str, &str); 2] = [
    (
        "runtime/src/memory/allocator.rs",
        "mimalloc's crate has no safe call that gives memory back",
    ),
    (
        "worker/src/l4/udp/syscalls.rs",
        "recvmmsg, sendmmsg and options of UDP sockets have no safe interface that fits",
    ),
];

fn sources() -> Vec<TextFile> {
    let sources = files(".rs");
    assert!(
        !sources.is_empty(),
        "no source file was found: the other tests would prove nothing"
    );
    sources
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".rs").unwrap_or(name)
}

#[test]
fn files_stay_below_the_ceiling() {
    let long = sources().into_iter().filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > LINES_MAX).then(|| format!("{} has {lines}", file.path))
    });
    let long: Vec<_> = long.collect();
    assert_none(
        "a source file has at most 800 lines: split foo.rs into foo.rs and foo/…",
        &long,
    );
}

#[test]
fn files_are_named_after_what_they_hold() {
    let is_banned = |path: &&str| {
        let stem = stem(path);
        // Versions of a wire package (`v1`) are the one number that says something.
        let is_copy = stem.ends_with(|last: char| last.is_ascii_digit())
            && !stem.rsplit('_').next().is_some_and(is_meaningful_number);
        BANNED_NAMES.contains(&stem) || is_copy
    };
    let sources = sources();
    let paths = sources.iter().map(|file| file.path.as_str());
    let banned: Vec<_> = paths.filter(is_banned).map(str::to_owned).collect();
    assert_none(
        "a file is named after its one subject: no mod.rs, utils.rs, foo2.rs",
        &banned,
    );
}

/// `v1`, `http1`, `l4`, `sha256`: the number belongs to the name of the thing.
fn is_meaningful_number(word: &str) -> bool {
    let letters = word.trim_end_matches(|last: char| last.is_ascii_digit());
    [
        "v", "v1alpha", "v1beta", "http", "l", "sha", "crc", "ipv", "base",
    ]
    .contains(&letters)
}

#[test]
fn every_module_opens_with_a_sentence() {
    let silent = sources()
        .into_iter()
        .filter(|file| !file.text.starts_with("//! "));
    let silent: Vec<_> = silent.map(|file| file.path).collect();
    assert_none(
        "a module opens with `//!` and a sentence that says what it is for",
        &silent,
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let unfinished = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("#[", "ignore"),
    ];
    let found = occurrences(&sources(), &unfinished);
    assert_none("no placeholder and no skipped test is committed", &found);
}

#[test]
fn no_path_of_one_machine_is_committed() {
    let paths = [
        concat!("/wo", "rk/"),
        concat!("../", "shared"),
        concat!("/ro", "ot/"),
    ];
    let found = occurrences(&files(""), &paths);
    assert_none(
        "a clone works on every machine: no path of one of them",
        &found,
    );
}

fn occurrences(files: &[TextFile], patterns: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            for pattern in patterns.iter().filter(|pattern| line.contains(**pattern)) {
                found.push(format!("{}:{} has {pattern}", file.path, index + 1));
            }
        }
    }
    found
}

#[test]
fn unsafe_code_lives_in_files_of_its_own() {
    let sources = sources();
    let is_allowed = |path: &str| UNSAFE_FILES.iter().any(|(allowed, _)| *allowed == path);
    let has_unsafe = |file: &&TextFile| file.text.lines().any(is_unsafe);
    let strays = sources
        .iter()
        .filter(has_unsafe)
        .filter(|file| !is_allowed(&file.path));
    let strays: Vec<_> = strays.map(|file| file.path.clone()).collect();
    let rule = "unsafe code lives in a file of its own, listed with its reason in UNSAFE_FILES";
    assert_none(rule, &strays);

    let unexplained = |file: &&TextFile| !file.text.contains("SAFETY:");
    let unexplained = sources.iter().filter(has_unsafe).filter(unexplained);
    let unexplained: Vec<_> = unexplained.map(|file| file.path.clone()).collect();
    assert_none("unsafe code carries a SAFETY comment", &unexplained);
}

#[test]
fn the_list_of_unsafe_files_is_current() {
    let sources = sources();
    let is_used = |path: &str| {
        let file = sources.iter().find(|file| file.path == path);
        file.is_some_and(|file| file.text.lines().any(is_unsafe))
    };
    let stale = UNSAFE_FILES.iter().filter(|(path, _)| !is_used(path));
    let stale: Vec<_> = stale.map(|(path, _)| (*path).to_owned()).collect();
    assert_none(
        "UNSAFE_FILES lists only files that hold unsafe code",
        &stale,
    );
}

fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or(line);
    let keyword = concat!("un", "safe ");
    let uses = ["{", "fn ", "impl ", "impl<", "extern ", "trait "];
    uses.iter()
        .any(|what| code.contains(&format!("{keyword}{what}")))
}

//! `tidegate seal-key`, and what configd says about its keys when it starts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::process::{Process, free_port, run};

#[test]
fn keys_are_made_listed_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("seal.keys");
    let path = keys.to_str().unwrap();
    for said in ["seals", "opens"] {
        let added = run(&["seal-key", "add", path]);
        let text = String::from_utf8_lossy(&added.stderr).into_owned();
        assert!(added.status.success() && text.contains(said), "{text}");
    }
    let list = run(&["seal-key", "list", path]);
    let text = String::from_utf8_lossy(&list.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("seals") && !lines[1].contains("seals"),
        "{text}"
    );

    let mut configd = configd(&folder.path().join("data"), &["--seal-key", path]);
    configd.wait_for("configd serves");
    let said = configd.lines.join("\n");
    assert!(!said.contains("in clear"), "{said}");
}

#[test]
fn configd_says_once_that_keys_are_stored_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let mut configd = configd(folder.path(), &[]);
    configd.wait_for("configd serves");
    let warnings = configd
        .lines
        .iter()
        .filter(|line| line.contains("in clear"));
    let [warning] = warnings.collect::<Vec<_>>()[..] else {
        panic!("{:#?}", configd.lines);
    };
    assert!(
        warning.contains(folder.path().to_str().unwrap()),
        "{warning}"
    );
    assert!(warning.contains("--seal-key"), "{warning}");
}

#[test]
fn keys_that_every_user_can_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("seal.keys");
    let path = keys.to_str().unwrap();
    assert!(run(&["seal-key", "add", path]).status.success());
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    let data = folder.path().join("data");
    let mut configd = configd(&data, &["--seal-key", path]);
    let error = configd.wait_for("error");
    assert!(error.contains("chmod o="), "{error}");
}

fn configd(data: &std::path::Path, more: &[&str]) -> Process {
    let address = |port: u16| format!("127.0.0.1:{port}");
    let (listen, admin) = (address(free_port()), address(free_port()));
    let fixed = [
        "configd",
        "--listen",
        &listen,
        "--admin",
        &admin,
        "--data-dir",
    ];
    let data = [data.to_str().unwrap()];
    Process::start(&[&fixed[..], &data, more].concat())
}

//! `tidegate cluster`, against a cluster of one.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::process::{Process, free_port, run};

struct One {
    server: String,
    process: Process,
}

/// A configd that is one of a cluster, of which it is all.
fn one(folder: &Path) -> One {
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut process = Process::start(&[
        "configd",
        "--data-dir",
        folder.to_str().unwrap(),
        "--node-name",
        "one",
        "--listen",
        &listen,
        "--peer-listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--insecure-plaintext",
    ]);
    process.wait_for_all(&["configd serves", "leads and publishes"]);
    One {
        server: format!("http://{listen}"),
        process,
    }
}

impl One {
    fn cluster(&self, args: &[&str]) -> Output {
        run(&[&["cluster"], args, &["--server", &self.server]].concat())
    }

    fn json(&self, question: &str) -> Value {
        let output = self.cluster(&[question, "-o", "json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_cluster_of_one_shows_itself() {
    let folder = tempfile::tempdir().unwrap();
    let one = one(folder.path());
    let listed = one.json("members");
    assert_eq!(listed["schemaVersion"], 1);
    let members = &listed["members"];
    assert_eq!(members[0]["name"], "one");
    assert_eq!(members[0]["role"], "leader");
    assert_eq!(members[0]["lag"], 0);
    let status = one.json("status");
    assert_eq!(
        (&status["schemaVersion"], &status["epoch"]),
        (&1.into(), &1.into())
    );
    let table = text(&one.cluster(&["members"]).stdout);
    assert!(table.starts_with("NAME"), "{table}");
    let gone = one.cluster(&["remove", "two"]);
    assert_eq!(gone.status.code(), Some(1));
    let message = text(&gone.stderr);
    assert!(message.contains("no configd two; it has one"), "{message}");
    let last = one.cluster(&["remove", "one"]);
    assert_eq!(
        last.status.code(),
        Some(4),
        "it is not as a removal needs it"
    );
    assert!(text(&last.stderr).contains("the only voter"), "{last:?}");
}

#[test]
fn a_backup_becomes_a_configd_in_a_new_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let (data, restored) = (folder.path().join("data"), folder.path().join("restored"));
    let file = folder.path().join("backup");
    let file = file.to_str().unwrap();
    let mut first = one(&data);
    let before = first.json("status");
    assert!(first.cluster(&["backup", file]).status.success());
    let again = first.cluster(&["backup", file]);
    assert_eq!(again.status.code(), Some(1), "it does not overwrite");
    first.process.kill();
    let into = restored.to_str().unwrap();
    let output = run(&["cluster", "restore", file, "--data-dir", into]);
    assert!(output.status.success(), "{output:?}");
    let second = one(&restored);
    let after = second.json("status");
    assert_eq!(after["clusterId"], before["clusterId"]);
    assert_eq!(after["epoch"], 2);
}

#[test]
fn a_peer_port_without_certificates_has_to_be_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&[
        "configd",
        "--data-dir",
        folder.path().to_str().unwrap(),
        "--peer-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("--insecure-plaintext"), "{message}");
}

//! A process is killed while it writes, again and again; everything that it acknowledged is still there.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "fixture/commit.rs"]
mod commit;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
    time::Duration,
};

use bytes::Bytes;
use tidegate_proto::{
    objects::v1::{Object, ObjectKey as WireKey, Operation, operation},
    raft::v1::PutObjects,
};
use tidegate_store::{Command, ObjectFilter, OpenOptions, Outcome, Store};

use commit::commit_command;

const CYCLES: u32 = 25;
const DIR: &str = "TIDEGATE_CRASH_TEST_DIR";

fn options(dir: &Path) -> OpenOptions {
    // Few entries to an image and to a file of the log, so that images, purges and new files are interrupted as well.
    let mut options = OpenOptions::new(dir);
    options.image_every = 15;
    options.segment_bytes = 64 << 10;
    options
}

fn put(number: u64) -> Command {
    let key = WireKey {
        source: "files".to_owned(),
        kind: "Service".to_owned(),
        name: format!("{number:08}"),
        ..WireKey::default()
    };
    let content = Bytes::from(number.to_string().repeat(1_500));
    let object = Object {
        key: Some(key),
        content,
        ..Object::default()
    };
    let operation = Operation {
        operation: Some(operation::Operation::Put(object)),
        precondition: None,
    };
    let source = "files".to_owned();
    Command::PutObjects(PutObjects {
        source,
        operations: vec![operation],
        ..PutObjects::default()
    })
}

fn commit(parent: u64) -> Command {
    commit_command(parent, format!("version {}", parent + 1).as_bytes())
}

/// The process that is killed: writes until then, and prints each number once it is acknowledged.
#[tokio::main(flavor = "current_thread")]
async fn write_until_killed(dir: PathBuf) {
    let store = Store::open(options(&dir)).await.unwrap();
    let mut out = std::io::stdout();
    for number in store.head("pool").map_or(0, |meta| meta.version).. {
        store.propose(put(number)).await.unwrap();
        let outcome = store.propose(commit(number)).await.unwrap();
        assert_eq!(
            outcome,
            Outcome::Committed {
                version: number + 1
            }
        );
        writeln!(out, "acked {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn everything_acknowledged_survives_kill_9() {
    if let Some(dir) = std::env::var_os(DIR) {
        return write_until_killed(dir.into());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acked = None;
    for cycle in 0..CYCLES {
        acked = run_and_kill(dir.path(), cycle).or(acked);
        if cycle % 5 == 4 {
            check(dir.path(), acked.unwrap());
        }
    }
    check(dir.path(), acked.unwrap());
}

/// Runs the writer, kills it after some acknowledgements, and returns the last number that it acknowledged.
fn run_and_kill(dir: &Path, cycle: u32) -> Option<u64> {
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "everything_acknowledged_survives_kill_9",
            "--nocapture",
        ])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let number = |line: String| Some(line.rsplit_once("acked ")?.1.parse::<u64>().unwrap());
    let mut last = lines.by_ref().find_map(number);
    assert!(last.is_some(), "the store did not open in cycle {cycle}");
    for line in lines.by_ref().take(cycle as usize % 11) {
        last = number(line).or(last);
    }
    // At another moment of a write in every cycle.
    std::thread::sleep(Duration::from_micros(u64::from(cycle) * 731 % 9_000));
    child.kill().unwrap();
    last = lines.filter_map(number).last().or(last);
    child.wait().unwrap();
    last
}

#[tokio::main(flavor = "current_thread")]
async fn check(dir: &Path, acked: u64) {
    let store = Store::open(options(dir)).await.unwrap();
    let (_, objects) = store.objects(&ObjectFilter::default());
    assert!(
        objects.len() as u64 > acked,
        "{} objects, {acked} was acknowledged",
        objects.len()
    );
    for (number, object) in objects.iter().enumerate() {
        assert_eq!(**object.key.name(), *format!("{number:08}"));
        assert_eq!(object.content, number.to_string().repeat(1_500).as_bytes());
    }
    let head = store.head("pool").unwrap().version;
    assert!(head > acked, "head {head}, {acked} was acknowledged");
    for version in store
        .list("pool", None, 1_000)
        .iter()
        .map(|meta| meta.version)
    {
        let part = &store.manifest("pool", version).unwrap()[0];
        assert_eq!(
            store.blob(&part.digest).unwrap(),
            format!("version {version}").as_bytes()
        );
    }
    store.shutdown().await;
}

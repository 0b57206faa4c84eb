//! A store whose files are not as it wrote them heals, or stays closed and names the file.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "fixture/commit.rs"]
mod commit;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use tidegate_store::{OpenOptions, Outcome, Store, StoreError};

use commit::commit_command;

async fn open(dir: &Path) -> Result<Store, StoreError> {
    let mut options = OpenOptions::new(dir);
    options.image_every = 10;
    Store::open(options).await
}

fn content(version: u64) -> Bytes {
    Bytes::from(format!("the one part of version {version}"))
}

async fn commit(store: &Store, version: u64) {
    let command = commit_command(version - 1, &content(version));
    let outcome = store.propose(command).await;
    assert_eq!(outcome.unwrap(), Outcome::Committed { version });
}

/// A directory in which that many versions were committed.
async fn written(versions: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    for version in 1..=versions {
        commit(&store, version).await;
    }
    store.shutdown().await;
    dir
}

fn files(dir: &Path, folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join(folder)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn refusal(dir: &Path) -> (PathBuf, String) {
    let error = open(dir).await.unwrap_err();
    let text = error.to_string();
    match error {
        StoreError::Damaged { path, .. } => (path, text),
        other => panic!("{other:?}"),
    }
}

fn flip_last_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

async fn has_all(dir: &Path, versions: u64) {
    let store = open(dir).await.unwrap();
    for version in 1..=versions {
        let part = store.manifest("pool", version).unwrap()[0].digest;
        assert_eq!(store.blob(&part).unwrap(), content(version));
    }
    store.shutdown().await;
}

#[tokio::test]
async fn a_part_with_other_bytes_keeps_the_store_closed() {
    let dir = written(30).await;
    let pack = files(dir.path(), "blobs").remove(0);
    flip_last_byte(&pack);
    assert_eq!(refusal(dir.path()).await.0, pack);
    fs::write(&pack, "").unwrap();
    assert_eq!(refusal(dir.path()).await.0, pack);
}

#[tokio::test]
async fn a_part_whose_file_is_gone_keeps_the_store_closed() {
    let dir = written(30).await;
    let pack = files(dir.path(), "blobs").remove(0);
    fs::remove_file(&pack).unwrap();
    let (path, text) = refusal(dir.path()).await;
    assert_eq!(path, pack);
    assert!(text.contains("is missing"), "{text}");
}

#[tokio::test]
async fn a_part_that_the_log_still_brings_is_written_again() {
    let dir = written(5).await;
    let packs = files(dir.path(), "blobs");
    flip_last_byte(&packs[0]);
    fs::write(&packs[1], "").unwrap();
    fs::remove_file(&packs[2]).unwrap();
    has_all(dir.path(), 5).await;
    // Not only from memory.
    has_all(dir.path(), 5).await;
}

#[tokio::test]
async fn a_log_whose_images_are_gone_keeps_the_store_closed() {
    let dir = written(30).await;
    // All at once: an image may still be on its way.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(dir.path().join("images"), elsewhere.path().join("images")).unwrap();
    let (path, text) = refusal(dir.path()).await;
    assert_eq!(path, dir.path().join("images"), "{text}");
}

#[tokio::test]
async fn an_identity_that_is_no_text_keeps_the_store_closed() {
    let dir = written(1).await;
    let path = dir.path().join("IDENTITY");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] |= 0x80;
    fs::write(&path, bytes).unwrap();
    assert_eq!(refusal(dir.path()).await.0, path);
}

#[tokio::test]
async fn a_log_whose_witness_is_gone_or_empty_keeps_the_store_closed() {
    for is_gone in [true, false] {
        let dir = written(3).await;
        let witness = dir.path().join("WITNESS");
        let says = if is_gone {
            fs::remove_file(&witness).unwrap();
            "empty or gone"
        } else {
            fs::write(&witness, "").unwrap();
            "no record of it can be read"
        };
        let (path, text) = refusal(dir.path()).await;
        assert_eq!(path, witness);
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn a_file_of_the_log_that_is_cut_or_gone_keeps_the_store_closed() {
    for is_gone in [true, false] {
        let dir = written(3).await;
        let segment = dir.path().join("log/0000000000000001.log");
        if is_gone {
            fs::remove_file(&segment).unwrap();
        } else {
            let bytes = fs::read(&segment).unwrap();
            fs::write(&segment, &bytes[..bytes.len() - 4_096]).unwrap();
        }
        assert_eq!(refusal(dir.path()).await.0, segment);
    }
}

#[tokio::test]
async fn a_lock_that_an_ended_store_has_not_let_go_yet_is_waited_for() {
    let dir = written(3).await;
    for folder in ["log", "images"] {
        let lock = File::open(dir.path().join(folder)).unwrap();
        lock.lock().unwrap();
        let letting_go = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(lock);
        });
        has_all(dir.path(), 3).await;
        letting_go.join().unwrap();
    }
}

#[tokio::test]
async fn an_unfinished_file_of_the_log_is_removed() {
    let dir = written(3).await;
    let unfinished = dir.path().join("log/00000000000000ff.tmp");
    fs::write(&unfinished, "half").unwrap();
    has_all(dir.path(), 3).await;
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn a_log_that_is_gone_with_all_notes_of_it_keeps_the_store_closed() {
    let dir = written(3).await;
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    // The packs are left.
    for note in ["INITIALISED", "WITNESS"] {
        fs::remove_file(dir.path().join(note)).unwrap();
    }
    let (path, text) = refusal(dir.path()).await;
    assert_eq!(path, dir.path().join("log"));
    assert!(text.contains("this node has written one"), "{text}");
}

//! The log keeps what it acknowledged, and notices what the disk did to it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod disk;
mod faults;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use openraft::{
    entry::RaftEntry as _,
    impls::leader_id_adv::LeaderId,
    storage::{IOFlushed, RaftLogStorage as _},
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt as _,
};

use super::*;
use crate::{
    blobs::Blobs,
    disk::LogFiles,
    image::{Image, Images},
    machine::Machine,
    raft::Payload,
    views::Views,
};
use disk::{Chance, Disk, Files};

/// Two pages: all but the smallest frames begin a segment of their own.
const SEGMENT_BYTES: u64 = 8 << 10;
const NEW: Past = Past {
    is_new: true,
    received: None,
};

struct Builder;

impl StoreBuilder<TypeConfig, Log, Machine, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, Log, Machine), openraft::StorageError<TypeConfig>> {
        let (dir, machine) = machine();
        let log = open_files(dir.path()).unwrap();
        Ok((dir, log, machine))
    }
}

/// A state machine in a directory of its own.
fn machine() -> (tempfile::TempDir, Machine) {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path().join("images")).unwrap();
    let blobs = Blobs::open(dir.path().join("blobs")).unwrap();
    let views = Arc::new(Views::new(Image::default(), blobs, crate::HIGHEST_LEVEL));
    (dir, Machine::new(views, images, None))
}

#[tokio::test]
async fn the_log_passes_the_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}

pub(super) fn id(index: u64) -> LogId {
    LogId {
        leader_id: LeaderId {
            term: 1,
            node_id: 1,
        },
        index,
    }
}

fn entry(index: u64, len: usize) -> Entry {
    let bytes = vec![u8::try_from(index % 251).unwrap(); len];
    Entry::new_normal(id(index), Payload::new(bytes.into()))
}

async fn append(log: &mut Log, entries: Vec<Entry>) -> io::Result<()> {
    let (done, durable) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(done)).await?;
    durable.await.unwrap()
}

fn open_files(dir: &Path) -> Result<Log, StoreError> {
    Log::open(LogFiles::open(dir)?, SEGMENT_BYTES, NEW, &dir.join("log"))
}

fn open(disk: Disk) -> Result<Log, StoreError> {
    Log::open(disk, SEGMENT_BYTES, NEW, Path::new("disk"))
}

fn slow() -> Disk {
    Disk {
        sync_time: Duration::from_millis(50),
        ..Disk::default()
    }
}

async fn read(log: &mut Log) -> Vec<Entry> {
    log.try_get_log_entries(0..1_000).await.unwrap()
}

#[tokio::test]
async fn large_and_small_entries_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_files(dir.path()).unwrap();
    let entries: Vec<_> = (0..20)
        .map(|index| entry(index, index as usize * 3_000))
        .collect();
    append(&mut log, entries.clone()).await.unwrap();
    log.truncate_after(Some(id(15))).await.unwrap();
    append(&mut log, vec![entry(16, 9)]).await.unwrap();
    log.purge(id(4)).await.unwrap();
    let before = read(&mut log).await;
    log.close().await;

    let mut log = open_files(dir.path()).unwrap();
    assert_eq!(read(&mut log).await, before);
    assert_eq!(before.len(), 12);
    assert_eq!(
        log.get_log_state().await.unwrap().last_purged_log_id,
        Some(id(4))
    );
    append(&mut log, vec![entry(17, 9)]).await.unwrap();
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_sync_has_returned() {
    let disk = slow();
    let mut log = open(disk.clone()).unwrap();
    let began = ["create", "attest", "settle"];
    assert_eq!(*disk.steps.lock().unwrap(), began);
    disk.steps.lock().unwrap().clear();
    append(&mut log, vec![entry(0, 10)]).await.unwrap();
    // The witness outlives the process, too; nobody waits for its sync.
    assert_eq!(*disk.steps.lock().unwrap(), ["write", "sync", "attest"]);
    disk.steps.lock().unwrap().clear();
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    let steps = disk.steps.lock().unwrap().clone();
    assert!(steps.ends_with(&["write", "sync", "attest"]), "{steps:?}");
}

#[tokio::test]
async fn appends_that_wait_together_share_a_sync() {
    let disk = slow();
    let mut log = open(disk.clone()).unwrap();
    let mut waiting = Vec::new();
    for index in 0..40 {
        let (done, durable) = TypeConfig::oneshot();
        log.append(vec![entry(index, 10)], IOFlushed::signal(done))
            .await
            .unwrap();
        waiting.push(durable);
    }
    for durable in waiting {
        durable.await.unwrap().unwrap();
    }
    let steps = disk.steps.lock().unwrap().clone();
    let syncs = steps.iter().filter(|step| **step == "sync").count();
    assert!(syncs <= 5, "{syncs} syncs for 40 appends");
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let disk = Disk {
        chance: Arc::new(Mutex::new(Some(Chance(1)))),
        ..Disk::default()
    };
    let mut log = open(disk.clone()).unwrap();
    *disk.fault_every.lock().unwrap() = Some(1);
    assert!(append(&mut log, vec![entry(0, 10)]).await.is_err());
    *disk.fault_every.lock().unwrap() = None;
    assert!(append(&mut log, vec![entry(1, 10)]).await.is_err());
    assert_eq!(read(&mut log).await.len(), 2, "reads go on");
}

/// A log of some segments: six entries, a vote, and two of the entries purged. What was there before the last two steps
/// comes first.
async fn written() -> (Files, Files) {
    let disk = Disk::default();
    let mut log = open(disk.clone()).unwrap();
    append(&mut log, (0..3).map(|index| entry(index, 10_000)).collect())
        .await
        .unwrap();
    for index in 3..6 {
        append(&mut log, vec![entry(index, 3_000)]).await.unwrap();
    }
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    let before = disk.files();
    log.purge(id(1)).await.unwrap();
    append(&mut log, vec![entry(6, 10)]).await.unwrap();
    log.close().await;
    (before, disk.files())
}

fn refusal(files: Files) -> Option<String> {
    match open(Disk::holding(files)) {
        Ok(_) => None,
        Err(error @ StoreError::Damaged { .. }) => Some(error.to_string()),
        Err(other) => panic!("{other}"),
    }
}

/// Whether all that [`written`] wrote is there.
async fn is_whole(files: Files) -> bool {
    let mut log = open(Disk::holding(files)).unwrap();
    let found: Vec<u64> = read(&mut log)
        .await
        .iter()
        .map(|entry| entry.index())
        .collect();
    found == [2, 3, 4, 5, 6] && log.read_vote().await.unwrap() == Some(Vote::new(1, 1))
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_loses_nothing() {
    let (_, files) = written().await;
    assert!(files.segments.len() > 3);
    let mut refused = 0;
    for (number, bytes) in &files.segments {
        for at in (0..bytes.len()).step_by(61) {
            let mut flipped = files.clone();
            flipped.segments.get_mut(number).unwrap()[at] ^= 4;
            match refusal(flipped.clone()) {
                Some(_) => refused += 1,
                None => assert!(is_whole(flipped).await, "byte {at} of segment {number}"),
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[tokio::test]
async fn a_page_that_is_zeros_or_was_never_written_is_refused_or_loses_nothing() {
    let (before, files) = written().await;
    let mut refused = 0;
    for (number, bytes) in &files.segments {
        for page in (0..bytes.len()).step_by(4_096) {
            let older = before.segments.get(number).cloned();
            for page_before in [Some(vec![0; bytes.len()]), older].into_iter().flatten() {
                let mut damaged = files.clone();
                damaged.segments.get_mut(number).unwrap()[page..page + 4_096]
                    .copy_from_slice(&page_before[page..page + 4_096]);
                match refusal(damaged.clone()) {
                    Some(_) => refused += 1,
                    None => assert!(is_whole(damaged).await, "byte {page} of segment {number}"),
                }
            }
        }
    }
    assert!(refused > 5, "{refused}");
}

#[tokio::test]
async fn a_segment_that_is_cut_emptied_or_gone_is_refused() {
    let (_, files) = written().await;
    for (number, bytes) in &files.segments {
        for len in [0, 100, 4_096, bytes.len() - 1] {
            let mut cut = files.clone();
            cut.segments.get_mut(number).unwrap().truncate(len);
            let text = refusal(cut).unwrap();
            assert!(
                text.starts_with(&format!("disk/{number} is damaged")),
                "{text}"
            );
        }
        let mut gone = files.clone();
        gone.segments.remove(number);
        let text = refusal(gone).unwrap();
        assert!(
            text.starts_with(&format!("disk/{number} is damaged: it is missing")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_end_that_was_acknowledged_last_is_missed() {
    let (_, mut files) = written().await;
    let newest = files.segments.values_mut().next_back().unwrap();
    let last_page = newest.len() - 4_096;
    assert!(newest[last_page..].iter().any(|byte| *byte != 0));
    newest[last_page..].fill(0);
    let text = refusal(files).unwrap();
    assert!(
        text.contains("was acknowledged, and ended at byte"),
        "{text}"
    );
}

#[tokio::test]
async fn a_log_without_its_witness_or_with_nothing_but_that_is_refused() {
    let (_, files) = written().await;
    let witness = None;
    let segments = files.segments.clone();
    let text = refusal(Files { segments, witness }).unwrap();
    assert!(text.contains("empty or gone"), "{text}");
    let witness = files.witness;
    let segments = Default::default();
    let text = refusal(Files { segments, witness }).unwrap();
    assert!(text.contains("it is missing"), "{text}");
}

#[tokio::test]
async fn a_log_that_is_gone_is_not_begun_anew() {
    let past = Past {
        is_new: false,
        received: None,
    };
    let opened = Log::open(Disk::default(), SEGMENT_BYTES, past, Path::new("disk"));
    let text = opened.map(|_| ()).unwrap_err().to_string();
    assert!(
        text.starts_with("disk is damaged: the log is gone"),
        "{text}"
    );
}

#[tokio::test]
async fn a_torn_frame_that_nobody_knows_of_is_cut() {
    let disk = Disk::default();
    let mut log = open(disk.clone()).unwrap();
    append(&mut log, vec![entry(0, 10)]).await.unwrap();
    let before = disk.files();
    // In a segment of its own, with the witness as it was.
    append(&mut log, vec![entry(1, 12_000)]).await.unwrap();
    let after = disk.files();
    let newest = *after.segments.keys().next_back().unwrap();
    let pages = after.segments[&newest].len() / 4_096;
    assert!(pages > 3);
    for lost in 1..pages {
        let mut files = after.clone();
        files.witness = before.witness;
        files.segments.get_mut(&newest).unwrap()[lost * 4_096..][..4_096].fill(0);
        let disk = Disk::holding(files);
        let mut log = open(disk.clone()).unwrap();
        assert_eq!(read(&mut log).await, vec![entry(0, 10)]);
        append(&mut log, vec![entry(1, 20)]).await.unwrap();
        log.close().await;
        let mut log = open(Disk::holding(disk.files())).unwrap();
        assert_eq!(read(&mut log).await, vec![entry(0, 10), entry(1, 20)]);
    }
}

#[tokio::test]
async fn a_frame_stored_within_an_entry_is_not_taken_for_one() {
    let (_, files) = written().await;
    // Every page of another log, at every place that a page of the entry can have.
    let other: Vec<u8> = files.segments.values().flatten().copied().collect();
    let disk = Disk::default();
    let mut log = open(disk.clone()).unwrap();
    let witness = disk.files().witness;
    let mut content = vec![0; 4_096];
    content.extend(&other);
    for shift in 0..64 {
        let bytes = content[shift * 64..].to_vec();
        let stored = Entry::new_normal(id(0), Payload::new(bytes.into()));
        append(&mut log, vec![stored]).await.unwrap();
        log.truncate_after(None).await.unwrap();
    }
    append(&mut log, vec![entry(0, 10)]).await.unwrap();
    log.close().await;
    let mut torn = disk.files();
    assert_eq!(refusal(torn.clone()), None);
    // Nor behind a torn one.
    torn.segments.retain(|number, _| *number < 3);
    torn.segments.get_mut(&2).unwrap()[4_096..8_192].fill(0);
    torn.witness = witness;
    assert_eq!(refusal(torn), None);
}

#[tokio::test]
async fn segments_go_once_their_entries_are_purged() {
    let disk = Disk::default();
    let mut log = open(disk.clone()).unwrap();
    log.save_vote(&Vote::new(7, 3)).await.unwrap();
    for index in 0..100 {
        append(&mut log, vec![entry(index, 5_000)]).await.unwrap();
        if let Some(purged) = index.checked_sub(10) {
            log.purge(id(purged)).await.unwrap();
        }
        let segments = disk.files().segments.len();
        assert!(segments < 26, "{segments} segments for ten entries");
    }
    log.save_committed(Some(id(99))).await.unwrap();
    log.close().await;
    let mut log = open(Disk::holding(disk.files())).unwrap();
    assert_eq!(read(&mut log).await.len(), 10);
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(7, 3)));
    assert_eq!(log.read_committed().await.unwrap(), Some(id(99)));
}

#[tokio::test]
async fn a_purge_beyond_the_end_leaves_nothing_but_its_mark() {
    let disk = Disk::default();
    let mut log = open(disk.clone()).unwrap();
    append(&mut log, (0..9).map(|index| entry(index, 5_000)).collect())
        .await
        .unwrap();
    log.purge(id(50)).await.unwrap();
    append(&mut log, vec![entry(51, 10)]).await.unwrap();
    log.close().await;
    let mut log = open(Disk::holding(disk.files())).unwrap();
    assert_eq!(read(&mut log).await, vec![entry(51, 10)]);
    assert_eq!(log.purged_index(), Some(50));
}

#[tokio::test]
async fn a_log_that_was_shortened_on_purpose_is_no_damage() {
    let (_, files) = written().await;
    let disk = Disk::holding(files);
    let mut log = open(disk.clone()).unwrap();
    log.truncate_after(Some(id(3))).await.unwrap();
    log.close().await;
    let log = open(Disk::holding(disk.files())).unwrap();
    assert_eq!(log.last_index(), Some(3));
}

#[tokio::test]
async fn a_shorter_log_with_a_later_entry_in_an_older_segment_loses_nothing() {
    let disk = Disk::default();
    let mut log = open(disk.clone()).unwrap();
    append(&mut log, (0..9).map(|index| entry(index, 2_000)).collect())
        .await
        .unwrap();
    log.truncate_after(Some(id(4))).await.unwrap();
    for index in 5..9 {
        append(&mut log, vec![entry(index, 6_000)]).await.unwrap();
        log.purge(id(index - 3)).await.unwrap();
    }
    log.close().await;
    let mut log = open(Disk::holding(disk.files())).unwrap();
    let found: Vec<u64> = read(&mut log)
        .await
        .iter()
        .map(|entry| entry.index())
        .collect();
    assert_eq!(found, [6, 7, 8]);
}

//! The log keeps what it acknowledged, and notices what the disk did to it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

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
    disk::{Row, SledEngine, Witness, Write},
    image::{Image, Images},
    machine::Machine,
    raft::Payload,
    views::Views,
};

struct Builder;

impl StoreBuilder<TypeConfig, Log, Machine, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, Log, Machine), openraft::StorageError<TypeConfig>> {
        let (dir, machine) = machine();
        let path = dir.path().join("log");
        let log = Log::open(SledEngine::open(&path).unwrap(), &path, None).unwrap();
        Ok((dir, log, machine))
    }
}

/// A state machine in a directory of its own.
fn machine() -> (tempfile::TempDir, Machine) {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path().join("images")).unwrap();
    let blobs = Blobs::open(dir.path().join("blobs")).unwrap();
    let views = Arc::new(Views::new(Image::default(), blobs));
    (dir, Machine::new(views, images, None))
}

#[tokio::test]
async fn the_log_passes_the_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}

fn id(index: u64) -> LogId {
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
    Entry::new_normal(id(index), Payload(bytes.into()))
}

async fn append(log: &mut Log, entries: Vec<Entry>) -> io::Result<()> {
    let (done, durable) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(done)).await?;
    durable.await.unwrap()
}

fn open(dir: &Path) -> Result<Log, StoreError> {
    Log::open(SledEngine::open(dir)?, dir, None)
}

async fn read(log: &mut Log) -> Vec<Entry> {
    log.try_get_log_entries(0..1_000).await.unwrap()
}

#[tokio::test]
async fn large_and_small_entries_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    let entries: Vec<_> = (0..20)
        .map(|index| entry(index, index as usize * 3_000))
        .collect();
    append(&mut log, entries.clone()).await.unwrap();
    log.truncate_after(Some(id(15))).await.unwrap();
    append(&mut log, vec![entry(16, 9)]).await.unwrap();
    log.purge(id(4)).await.unwrap();
    let before = read(&mut log).await;
    log.close().await;

    let mut log = open(dir.path()).unwrap();
    assert_eq!(read(&mut log).await, before);
    assert_eq!(before.len(), 12);
    assert_eq!(
        log.get_log_state().await.unwrap().last_purged_log_id,
        Some(id(4))
    );
    append(&mut log, vec![entry(17, 9)]).await.unwrap();
}

#[tokio::test]
async fn an_index_snapshot_that_sled_did_not_finish_does_not_block_the_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    append(&mut log, vec![entry(0, 10)]).await.unwrap();
    log.close().await;
    std::fs::write(dir.path().join("snap.0000000000000BAD.generating"), b"torn").unwrap();
    let mut log = open(dir.path()).unwrap();
    assert_eq!(read(&mut log).await, vec![entry(0, 10)]);
}

#[tokio::test]
async fn a_damaged_index_snapshot_is_refused_rather_than_opened_without_its_entries() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    append(&mut log, vec![entry(0, 10)]).await.unwrap();
    log.close().await;
    // In a copy: a task that sled left behind may still tidy the original's snapshots.
    let copy = tempfile::tempdir().unwrap();
    for name in ["db", "conf"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let damaged = copy.path().join("snap.FFFFFFFFFFFFFFFF");
    std::fs::write(damaged, b"not what sled wrote").unwrap();
    let opened = open(copy.path()).map(|log| log.last_index());
    assert!(
        matches!(opened, Err(StoreError::Damaged { .. })),
        "{opened:?}"
    );
}

/// An engine in memory that notes what is asked of it, and fails when it is told to.
#[derive(Clone, Default)]
struct Memory {
    rows: Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>,
    steps: Arc<Mutex<Vec<&'static str>>>,
    fails: Arc<Mutex<bool>>,
    witness: Arc<Mutex<Option<Witness>>>,
}

impl LogEngine for Memory {
    fn rows(&mut self) -> Result<Vec<Row>, StoreError> {
        Ok(self.rows.lock().unwrap().clone().into_iter().collect())
    }

    fn write(&mut self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.steps.lock().unwrap().push("write");
        let mut rows = self.rows.lock().unwrap();
        for write in batch {
            match write {
                Write::Put(key, value) => rows.insert(key, value),
                Write::Remove(key) => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        // Long enough for a wrong acknowledgement to overtake it.
        std::thread::sleep(Duration::from_millis(50));
        self.steps.lock().unwrap().push("sync");
        match *self.fails.lock().unwrap() {
            true => Err(StoreError::io("sync", "db")(
                io::ErrorKind::StorageFull.into(),
            )),
            false => Ok(()),
        }
    }

    fn witness(&mut self) -> Option<Witness> {
        *self.witness.lock().unwrap()
    }

    fn attest(&mut self, witness: Witness) -> Result<(), StoreError> {
        self.steps.lock().unwrap().push("attest");
        *self.witness.lock().unwrap() = Some(witness);
        Ok(())
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_sync_has_returned() {
    let engine = Memory::default();
    let mut log = Log::open(engine.clone(), Path::new("memory"), None).unwrap();
    append(&mut log, vec![entry(0, 10)]).await.unwrap();
    assert_eq!(*engine.steps.lock().unwrap(), ["write", "sync", "attest"]);
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    assert_eq!(
        *engine.steps.lock().unwrap(),
        ["write", "sync", "attest", "write", "sync", "attest"]
    );
}

#[tokio::test]
async fn appends_that_wait_together_share_a_sync() {
    let engine = Memory::default();
    let mut log = Log::open(engine.clone(), Path::new("memory"), None).unwrap();
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
    let syncs = engine
        .steps
        .lock()
        .unwrap()
        .iter()
        .filter(|step| **step == "sync")
        .count();
    assert!(syncs <= 5, "{syncs} syncs for 40 appends");
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let engine = Memory::default();
    let mut log = Log::open(engine.clone(), Path::new("memory"), None).unwrap();
    *engine.fails.lock().unwrap() = true;
    assert!(append(&mut log, vec![entry(0, 10)]).await.is_err());
    *engine.fails.lock().unwrap() = false;
    assert!(append(&mut log, vec![entry(1, 10)]).await.is_err());
    assert_eq!(read(&mut log).await.len(), 2, "reads go on");
}

async fn written() -> Memory {
    let engine = Memory::default();
    let mut log = Log::open(engine.clone(), Path::new("memory"), None).unwrap();
    append(&mut log, (0..6).map(|index| entry(index, 10_000)).collect())
        .await
        .unwrap();
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    log.save_committed(Some(id(5))).await.unwrap();
    log.purge(id(1)).await.unwrap();
    log.close().await;
    engine
}

#[tokio::test]
async fn a_flipped_bit_in_any_row_is_refused() {
    let engine = written().await;
    let keys: Vec<_> = engine.rows.lock().unwrap().keys().cloned().collect();
    assert!(keys.len() > 8);
    for key in keys {
        engine.rows.lock().unwrap().get_mut(&key).unwrap()[20] ^= 4;
        let opened = Log::open(engine.clone(), Path::new("memory"), None);
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "row {key:?}"
        );
        engine.rows.lock().unwrap().get_mut(&key).unwrap()[20] ^= 4;
    }
    assert!(Log::open(engine, Path::new("memory"), None).is_ok());
}

#[tokio::test]
async fn a_log_that_lost_its_end_or_its_vote_is_refused() {
    let engine = written().await;
    let rows = engine.rows.lock().unwrap().clone();
    let without = |lost: &dyn Fn(&[u8]) -> bool| {
        let left = rows.clone().into_iter().filter(|(key, _)| !lost(key));
        let engine = Memory {
            rows: Arc::new(Mutex::new(left.collect())),
            witness: engine.witness.clone(),
            ..Memory::default()
        };
        Log::open(engine, Path::new("memory"), None).map(|_| ())
    };
    // Without the committed mark as well, so that the witness alone can tell.
    let end = without(&|key| key == b"m/committed" || key.starts_with(&frame::key(5, 0)[..9]));
    let Err(StoreError::Damaged { what, .. }) = end else {
        panic!("{end:?}");
    };
    assert!(what.contains("entry 5 was acknowledged"), "{what}");
    let vote = without(&|key| key == b"m/vote");
    assert!(matches!(vote, Err(StoreError::Damaged { .. })), "{vote:?}");
}

#[tokio::test]
async fn a_log_that_was_shortened_on_purpose_is_no_damage() {
    let engine = written().await;
    let mut log = Log::open(engine.clone(), Path::new("memory"), None).unwrap();
    log.save_committed(Some(id(3))).await.unwrap();
    log.truncate_after(Some(id(3))).await.unwrap();
    log.close().await;
    let log = Log::open(engine, Path::new("memory"), None).unwrap();
    assert_eq!(log.last_index(), Some(3));
}

#[tokio::test]
async fn a_missing_row_is_refused_wherever_it_was() {
    let engine = written().await;
    let rows: Vec<_> = engine.rows.lock().unwrap().clone().into_iter().collect();
    for (key, value) in rows.into_iter().filter(|(key, _)| key[0] == b'l') {
        engine.rows.lock().unwrap().remove(&key);
        let opened = Log::open(engine.clone(), Path::new("memory"), None);
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "row {key:?}"
        );
        engine.rows.lock().unwrap().insert(key, value);
    }
}

#[tokio::test]
async fn a_row_that_an_earlier_log_left_is_refused() {
    let engine = written().await;
    let other = Memory::default();
    let mut log = Log::open(other.clone(), Path::new("memory"), None).unwrap();
    append(&mut log, (0..6).map(|index| entry(index, 9_999)).collect())
        .await
        .unwrap();
    log.close().await;
    for part in 0..2 {
        let key = frame::key(4, part);
        let stale = other.rows.lock().unwrap()[&key].clone();
        engine.rows.lock().unwrap().insert(key, stale);
    }
    let Err(error) = Log::open(engine, Path::new("/data/log"), None) else {
        panic!("it was accepted")
    };
    assert!(
        error
            .to_string()
            .starts_with("/data/log is damaged: row 0 of log entry 4"),
        "{error}"
    );
}

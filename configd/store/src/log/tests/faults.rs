//! openraft's suite over a disk that fails, while its process is killed and loses power: an error surfaces, and what was
//! acknowledged is there.

use openraft::{
    StorageError,
    storage::{RaftSnapshotBuilder as _, RaftStateMachine as _},
};
use tokio::sync::Mutex as Turn;

use super::{disk::Chance, *};

/// Runs of the suite, each with other faults.
const SEEDS: u64 = 12;
/// One of so many steps of a disk fails.
const FAULT_EVERY: u64 = 6;

/// A change that somebody waits for.
enum Step {
    Vote(Vote),
    Append(Vec<Entry>),
    Truncate(Option<LogId>),
    Purge(LogId),
}

/// Last purged entry, last entry, vote, entries: what a log must still have after a restart.
type Seen = (Option<LogId>, Option<LogId>, Option<Vote>, Vec<Entry>);

/// A log whose process is killed or loses power after every step, acknowledged or not, and goes on where it was.
#[derive(Clone)]
struct Restarting {
    node: Arc<Turn<(Disk, Log)>>,
}

impl Restarting {
    fn new(disk: Disk) -> Self {
        Self {
            node: Arc::new(Turn::new(open_again(disk))),
        }
    }

    async fn log(&self) -> Log {
        self.node.lock().await.1.clone()
    }

    /// Takes the step, again after each failure, as Raft does once the node is back.
    async fn step(&self, step: Step) -> io::Result<()> {
        let mut node = self.node.lock().await;
        let (_, last, ..) = seen(&mut node.1).await;
        while !attempt(&mut node, &step).await {
            // An append that failed may have left some of its entries, or all.
            let undo = Step::Truncate(last);
            while matches!(step, Step::Append(_)) && !attempt(&mut node, &undo).await {}
        }
        Ok(())
    }
}

/// Opens the log, again after each failure.
fn open_again(mut disk: Disk) -> (Disk, Log) {
    loop {
        match super::open(disk.clone()) {
            Ok(log) => return (disk, log),
            Err(error) => {
                let is_fault = matches!(error, StoreError::Io { .. });
                assert!(is_fault, "nothing was damaged: {error}");
                disk = disk.after_an_end();
            }
        }
    }
}

/// Takes the step, then ends. Whether the step was acknowledged.
async fn attempt((disk, log): &mut (Disk, Log), step: &Step) -> bool {
    let before = seen(log).await;
    let done = carry_out(log, step).await.is_ok();
    assert_eq!(
        !done,
        disk.has_failed(),
        "faults surface, and nothing else does"
    );
    let after = seen(log).await;
    (*disk, *log) = open_again(disk.after_an_end());
    let found = seen(log).await;
    if done {
        assert_eq!(found, after, "what was acknowledged is there");
    } else if let Step::Append(_) = step {
        let (.., vote, entries) = &found;
        assert!(
            entries.starts_with(&before.3),
            "what was acknowledged is there"
        );
        assert!(
            after.3.starts_with(entries),
            "nothing is there but what was written"
        );
        assert_eq!(*vote, before.2);
    }
    done
}

async fn seen(log: &mut Log) -> Seen {
    let state = log.get_log_state().await.unwrap();
    let vote = log.read_vote().await.unwrap();
    (
        state.last_purged_log_id,
        state.last_log_id,
        vote,
        read(log).await,
    )
}

async fn carry_out(log: &mut Log, step: &Step) -> io::Result<()> {
    match step {
        Step::Vote(vote) => log.save_vote(vote).await,
        Step::Append(entries) => append(log, entries.clone()).await,
        Step::Truncate(last) => log.truncate_after(*last).await,
        Step::Purge(upto) => log.purge(*upto).await,
    }
}

impl RaftLogReader<TypeConfig> for Restarting {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        self.log().await.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.log().await.read_vote().await
    }
}

impl RaftLogStorage<TypeConfig> for Restarting {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        self.log().await.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.step(Step::Vote(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.log().await.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.log().await.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect();
        let appended = self.step(Step::Append(entries)).await;
        callback.io_completed(appended);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.step(Step::Truncate(last)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.step(Step::Purge(upto)).await
    }
}

/// Builds stores on failing disks.
struct FailingBuilder {
    chance: Arc<Mutex<Option<Chance>>>,
    faults: Arc<Mutex<u64>>,
}

impl StoreBuilder<TypeConfig, Restarting, Machine, tempfile::TempDir> for FailingBuilder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, Restarting, Machine), StorageError<TypeConfig>> {
        let (dir, machine) = machine();
        let disk = Disk {
            fault_every: Arc::new(Mutex::new(Some(FAULT_EVERY))),
            chance: self.chance.clone(),
            faults: self.faults.clone(),
            ..Disk::default()
        };
        Ok((dir, Restarting::new(disk), machine))
    }
}

#[tokio::test]
async fn the_log_passes_the_suite_of_openraft_on_a_disk_that_fails_and_loses_power() {
    // At once, because the suite sleeps most of its time.
    futures_util::future::join_all((0..SEEDS).map(pass)).await;
}

async fn pass(seed: u64) {
    let faults = Arc::new(Mutex::new(0));
    let builder = FailingBuilder {
        chance: Arc::new(Mutex::new(Some(Chance(seed)))),
        faults: faults.clone(),
    };
    let passed = Suite::test_all(builder).await;
    passed.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(*faults.lock().unwrap() > 50, "the disk must have failed");
}

#[tokio::test]
async fn an_image_that_cannot_be_written_surfaces_and_leaves_the_one_before() {
    let (dir, mut machine) = machine();
    machine.views.update(|image| image.applied = Some(id(3)));
    machine.build_snapshot().await.unwrap();
    machine.views.update(|image| image.applied = Some(id(4)));
    std::fs::create_dir(dir.path().join("images/0000000000000004.tmp")).unwrap();
    assert!(machine.build_snapshot().await.is_err());
    let newest = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(newest.meta.last_log_id, Some(id(3)));
    assert_eq!(newest.snapshot.read().unwrap().applied, Some(id(3)));
}

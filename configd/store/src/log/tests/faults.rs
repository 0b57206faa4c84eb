//! openraft's suite over a disk that fails and loses power: an error surfaces, and what was acknowledged is there.

use openraft::{
    StorageError,
    storage::{RaftSnapshotBuilder as _, RaftStateMachine as _},
};
use tokio::sync::Mutex as Turn;

use super::*;

/// Runs of the suite, each with other faults.
const SEEDS: u64 = 12;
/// One of so many steps of a disk fails.
const FAULT_EVERY: u64 = 6;

/// Numbers from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What a disk was told, and what a loss of power leaves of it: of what is not synced, the first batches.
#[derive(Clone, Default)]
struct Platter {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    unsynced: Vec<Vec<Write>>,
    witness: Option<Witness>,
}

impl Platter {
    fn keep(&mut self, batches: usize) {
        for write in self.unsynced.drain(..).take(batches).flatten() {
            match write {
                Write::Put(key, value) => self.rows.insert(key, value),
                Write::Remove(key) => self.rows.remove(&key),
            };
        }
    }
}

/// A disk some of whose steps fail.
#[derive(Clone)]
struct Disk {
    platter: Arc<Mutex<Platter>>,
    chance: Arc<Mutex<Chance>>,
    faults: Arc<Mutex<u64>>,
    has_failed: Arc<Mutex<bool>>,
}

impl Disk {
    /// The disk after a loss of power. Whoever has the old one writes into the void.
    fn after_a_loss_of_power(&self) -> Self {
        let mut platter = self.platter.lock().unwrap().clone();
        let most = platter.unsynced.len() as u64 + 1;
        platter.keep(usize::try_from(self.below(most)).unwrap());
        Self {
            platter: Arc::new(Mutex::new(platter)),
            has_failed: Arc::default(),
            ..self.clone()
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.chance.lock().unwrap().below(bound)
    }

    fn fails(&self) -> bool {
        let fails = self.below(FAULT_EVERY) == 0;
        if fails {
            *self.faults.lock().unwrap() += 1;
            *self.has_failed.lock().unwrap() = true;
        }
        fails
    }
}

fn broken<T>() -> Result<T, StoreError> {
    Err(StoreError::io("write", "disk")(
        io::Error::from_raw_os_error(5),
    ))
}

impl LogEngine for Disk {
    fn rows(&mut self) -> Result<Vec<Row>, StoreError> {
        let mut platter = self.platter.lock().unwrap().clone();
        platter.keep(usize::MAX);
        Ok(platter.rows.into_iter().collect())
    }

    fn write(&mut self, batch: Vec<Write>) -> Result<(), StoreError> {
        let fails = self.fails();
        if !fails || self.below(2) == 0 {
            self.platter.lock().unwrap().unsynced.push(batch);
        }
        if fails { broken() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.fails() {
            return broken();
        }
        self.platter.lock().unwrap().keep(usize::MAX);
        Ok(())
    }

    fn witness(&mut self) -> Option<Witness> {
        self.platter.lock().unwrap().witness
    }

    fn attest(&mut self, witness: Witness) -> Result<(), StoreError> {
        let fails = self.fails();
        if !fails || self.below(2) == 0 {
            self.platter.lock().unwrap().witness = Some(witness);
        }
        if fails { broken() } else { Ok(()) }
    }
}

/// A change that somebody waits for.
enum Step {
    Vote(Vote),
    Append(Vec<Entry>),
    Truncate(Option<LogId>),
    Purge(LogId),
}

/// Last purged entry, last entry, vote, entries: what a log must still have after a restart.
type Seen = (Option<LogId>, Option<LogId>, Option<Vote>, Vec<Entry>);

/// A log whose node loses power after every step, acknowledged or not, and goes on where it was.
#[derive(Clone)]
struct Restarting {
    node: Arc<Turn<(Disk, Log)>>,
}

impl Restarting {
    fn new(disk: Disk) -> Self {
        let log = Log::open(disk.clone(), Path::new("disk"), None).unwrap();
        Self {
            node: Arc::new(Turn::new((disk, log))),
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

/// Takes the step, then loses power. Whether the step was acknowledged.
async fn attempt((disk, log): &mut (Disk, Log), step: &Step) -> bool {
    let before = seen(log).await;
    let done = carry_out(log, step).await.is_ok();
    assert_eq!(
        !done,
        *disk.has_failed.lock().unwrap(),
        "faults surface, and nothing else does"
    );
    let after = seen(log).await;
    *disk = disk.after_a_loss_of_power();
    *log = Log::open(disk.clone(), Path::new("disk"), None).unwrap();
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
    chance: Arc<Mutex<Chance>>,
    faults: Arc<Mutex<u64>>,
}

impl StoreBuilder<TypeConfig, Restarting, Machine, tempfile::TempDir> for FailingBuilder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, Restarting, Machine), StorageError<TypeConfig>> {
        let (dir, machine) = machine();
        let disk = Disk {
            platter: Arc::default(),
            chance: self.chance.clone(),
            faults: self.faults.clone(),
            has_failed: Arc::default(),
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
        chance: Arc::new(Mutex::new(Chance(seed))),
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

//! A disk for tests: what a process sees of it, what a loss of power leaves, and steps that fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    StoreError,
    log::{Medium, Witness},
};

/// What is written whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Numbers from a seed (splitmix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Segments and witness.
#[derive(Clone, Default)]
pub(super) struct Files {
    pub(super) segments: BTreeMap<u64, Vec<u8>>,
    pub(super) witness: Option<Witness>,
}

#[derive(Clone, Default)]
pub(super) struct Platter {
    /// As a process sees them.
    now: Files,
    /// As a loss of power leaves them, at least.
    durable: Files,
    /// Sectors that the next sync has to write. One that fails forgets them, as Linux does.
    dirty: BTreeSet<(u64, usize)>,
}

/// A disk. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) platter: Arc<Mutex<Platter>>,
    /// What was asked of it.
    pub(super) steps: Arc<Mutex<Vec<&'static str>>>,
    /// One of so many steps fails, as chance will have it; with 1 every one.
    pub(super) fault_every: Arc<Mutex<Option<u64>>>,
    pub(super) chance: Arc<Mutex<Option<Chance>>>,
    pub(super) faults: Arc<Mutex<u64>>,
    pub(super) has_failed: Arc<Mutex<bool>>,
    /// How long a sync takes.
    pub(super) sync_time: Duration,
}

impl Disk {
    pub(super) fn holding(files: Files) -> Self {
        let platter = Platter {
            durable: files.clone(),
            now: files,
            dirty: BTreeSet::new(),
        };
        Self {
            platter: Arc::new(Mutex::new(platter)),
            ..Self::default()
        }
    }

    /// What a process sees.
    pub(super) fn files(&self) -> Files {
        self.platter.lock().unwrap().now.clone()
    }

    /// The disk after its process was killed, or after a loss of power. Whoever has the old one writes into the void.
    pub(super) fn after_an_end(&self) -> Self {
        let mut platter = self.platter.lock().unwrap().clone();
        if self.below(2) == 0 {
            self.lose_power(&mut platter);
        }
        Self {
            platter: Arc::new(Mutex::new(platter)),
            has_failed: Arc::default(),
            ..self.clone()
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        *self.has_failed.lock().unwrap()
    }

    pub(super) fn below(&self, bound: u64) -> u64 {
        let mut chance = self.chance.lock().unwrap();
        chance.as_mut().map_or(0, |chance| chance.below(bound))
    }

    /// Of what is not durable, any sectors are there.
    fn lose_power(&self, platter: &mut Platter) {
        let Platter {
            now,
            durable,
            dirty,
        } = platter;
        for (number, bytes) in &mut durable.segments {
            let Some(seen) = now.segments.get(number) else {
                continue;
            };
            let sectors = bytes.chunks_mut(SECTOR_BYTES);
            for (sector, seen) in sectors.zip(seen.chunks(SECTOR_BYTES)) {
                if sector != seen && self.below(2) == 0 {
                    sector.copy_from_slice(seen);
                }
            }
        }
        if self.below(2) == 0 {
            durable.witness = now.witness;
        }
        *now = durable.clone();
        dirty.clear();
    }

    /// Takes a step, or not: with a fault it may be done all the same.
    fn step(&self, name: &'static str, take: impl FnOnce(&mut Platter)) -> Result<(), StoreError> {
        self.steps.lock().unwrap().push(name);
        let every = *self.fault_every.lock().unwrap();
        let fails = every.is_some_and(|every| self.below(every) == 0);
        if !fails || self.below(2) == 0 {
            take(&mut self.platter.lock().unwrap());
        }
        if !fails {
            return Ok(());
        }
        *self.faults.lock().unwrap() += 1;
        *self.has_failed.lock().unwrap() = true;
        Err(StoreError::io(name, "disk")(io::Error::from_raw_os_error(
            5,
        )))
    }
}

impl Medium for Disk {
    fn segments(&mut self) -> Result<Vec<u64>, StoreError> {
        Ok(self
            .platter
            .lock()
            .unwrap()
            .now
            .segments
            .keys()
            .copied()
            .collect())
    }

    fn read(&mut self, number: u64) -> Result<Vec<u8>, StoreError> {
        Ok(self.platter.lock().unwrap().now.segments[&number].clone())
    }

    fn create(&mut self, number: u64, len: u64, head: &[u8]) -> Result<(), StoreError> {
        self.step("create", |platter| {
            let mut bytes = head.to_vec();
            bytes.resize(usize::try_from(len).unwrap(), 0);
            platter.durable.segments.insert(number, bytes.clone());
            platter.now.segments.insert(number, bytes);
        })
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.step("write", |platter| {
            let at = usize::try_from(at).unwrap();
            let mut newest = platter.now.segments.last_entry().unwrap();
            newest.get_mut()[at..at + bytes.len()].copy_from_slice(bytes);
            let sectors = at / SECTOR_BYTES..(at + bytes.len()).div_ceil(SECTOR_BYTES);
            let number = *newest.key();
            platter.dirty.extend(sectors.map(|sector| (number, sector)));
        })
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        // Long enough for a wrong acknowledgement to overtake it.
        std::thread::sleep(self.sync_time);
        let dirty = std::mem::take(&mut self.platter.lock().unwrap().dirty);
        self.step("sync", |platter| {
            for (number, sector) in dirty {
                let seen = &platter.now.segments[&number];
                let start = sector * SECTOR_BYTES;
                let range = start..seen.len().min(start + SECTOR_BYTES);
                let durable = platter.durable.segments.get_mut(&number).unwrap();
                durable[range.clone()].copy_from_slice(&seen[range]);
            }
        })
    }

    fn remove(&mut self, number: u64) -> Result<(), StoreError> {
        self.step("remove", |platter| {
            platter.now.segments.remove(&number);
            platter.durable.segments.remove(&number);
        })
    }

    fn witness(&mut self) -> Result<Option<Witness>, StoreError> {
        Ok(self.platter.lock().unwrap().now.witness)
    }

    fn attest(&mut self, witness: Witness) -> Result<(), StoreError> {
        self.step("attest", |platter| platter.now.witness = Some(witness))
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        self.step("settle", |platter| {
            platter.durable.witness = platter.now.witness
        })
    }

    fn path(&self, number: u64) -> PathBuf {
        PathBuf::from(format!("disk/{number}"))
    }

    fn witness_path(&self) -> PathBuf {
        PathBuf::from("disk/witness")
    }
}

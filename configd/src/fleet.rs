//! The workers that are connected to this configd, and what each of them serves. It learns of those of the
//! other replicas too.

pub(crate) mod gather;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_proto::snapshots::v1::{Ack, Nack, Traffic, Worker};
use tokio::sync::watch;

/// The connected workers; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    workers: Arc<Mutex<BTreeMap<WorkerKey, Entry>>>,
    /// Workers that other replicas have, in order.
    elsewhere: Arc<Mutex<BTreeMap<WorkerKey, Worker>>>,
    changed: Arc<watch::Sender<u64>>,
}

/// A worker's presence; dropping it takes the worker off the fleet.
#[derive(Debug)]
pub(crate) struct Presence {
    fleet: Fleet,
    key: WorkerKey,
    session: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct WorkerKey {
    pool: Arc<str>,
    name: Arc<str>,
}

impl WorkerKey {
    fn of(worker: &Worker) -> Self {
        Self {
            pool: worker.pool.as_str().into(),
            name: worker.name.as_str().into(),
        }
    }

    /// Whether the worker belongs to a pool; every one belongs to the empty one.
    fn is_in(&self, pool: &str) -> bool {
        pool.is_empty() || *self.pool == *pool
    }
}

fn is_newer(one: &Worker, other: &Worker) -> bool {
    one.connected_at_unix_ms > other.connected_at_unix_ms
}

#[derive(Debug)]
struct Entry {
    /// Tells a reconnected worker from the connection that it left behind.
    session: u64,
    worker: Worker,
}

impl Fleet {
    /// Adds a worker; a second connection under the same name takes the place of the first.
    pub(crate) fn join(&self, worker: Worker) -> Presence {
        let key = WorkerKey::of(&worker);
        let session = self.edit(|workers| {
            let session = workers.get(&key).map_or(0, |entry| entry.session + 1);
            workers.insert(key.clone(), Entry { session, worker });
            session
        });
        Presence {
            fleet: self.clone(),
            key,
            session,
        }
    }

    /// The workers of a pool, or of all pools where it is empty, ordered by pool and name.
    pub(crate) fn list(&self, pool: &str) -> Vec<Worker> {
        let mut workers = self.with_all(pool, |all| all.cloned().collect::<Vec<_>>());
        workers.sort_by_cached_key(WorkerKey::of);
        workers
    }

    /// The same without those of other replicas.
    pub(crate) fn list_here(&self, pool: &str) -> Vec<Worker> {
        let here = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = here.iter().filter(|(key, _)| key.is_in(pool));
        asked.map(|(_, entry)| entry.worker.clone()).collect()
    }

    /// How many workers of a pool serve `version` or a newer one, and how many there are.
    pub(crate) fn serving(&self, pool: &str, version: u64) -> (usize, usize) {
        self.with_all(pool, |all| {
            let versions = all.map(|worker| worker.serving.as_ref().map_or(0, |id| id.version));
            versions.fold((0, 0), |(served, all), one| {
                (served + usize::from(one >= version), all + 1)
            })
        })
    }

    /// Replaces what is known of the workers of the other replicas.
    pub(crate) fn set_elsewhere(&self, found: Vec<Worker>) {
        let mut newest: BTreeMap<WorkerKey, Worker> = BTreeMap::new();
        for worker in found {
            let key = WorkerKey::of(&worker);
            if newest
                .get(&key)
                .is_none_or(|other| !is_newer(other, &worker))
            {
                newest.insert(key, worker);
            }
        }
        let mut elsewhere = self
            .elsewhere
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *elsewhere != newest {
            *elsewhere = newest;
            drop(elsewhere);
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Reads every worker of a pool once. One that two replicas know is with the one to which it connected last.
    fn with_all<T>(
        &self,
        pool: &str,
        read: impl FnOnce(&mut dyn Iterator<Item = &Worker>) -> T,
    ) -> T {
        let here = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let elsewhere = self
            .elsewhere
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let ours = here.iter().filter(|(key, entry)| {
            let other = elsewhere.get(key);
            key.is_in(pool) && other.is_none_or(|other| !is_newer(other, &entry.worker))
        });
        let theirs = elsewhere.iter().filter(|(key, worker)| {
            let entry = here.get(key);
            key.is_in(pool) && entry.is_none_or(|entry| is_newer(worker, &entry.worker))
        });
        let ours = ours.map(|(_, entry)| &entry.worker);
        read(&mut ours.chain(theirs.map(|(_, worker)| worker)))
    }

    /// Wakes whenever a worker comes, goes or answers.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut BTreeMap<WorkerKey, Entry>) -> T) -> T {
        let result = edit(&mut self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_modify(|count| *count += 1);
        result
    }
}

impl Presence {
    /// The worker serves another version.
    pub(crate) fn ack(&self, ack: Ack) {
        self.edit(|worker| {
            worker.serving = ack.id;
            worker.listeners = ack.listeners;
            worker.last_nack = None;
        });
    }

    /// The worker refused a version.
    pub(crate) fn nack(&self, nack: Nack) {
        self.edit(|worker| worker.last_nack = Some(nack));
    }

    /// What the worker has answered with its version. Wakes nobody: whoever looks at it, looks every so often.
    pub(crate) fn answered(&self, traffic: Traffic) {
        let workers = &self.fleet.workers;
        let mut workers = workers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = workers.get_mut(&self.key)
            && entry.session == self.session
        {
            entry.worker.traffic = Some(traffic);
        }
    }

    fn edit(&self, edit: impl FnOnce(&mut Worker)) {
        self.fleet.edit(|workers| {
            if let Some(entry) = workers.get_mut(&self.key)
                && entry.session == self.session
            {
                edit(&mut entry.worker);
            }
        });
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.fleet.edit(|workers| {
            if workers
                .get(&self.key)
                .is_some_and(|entry| entry.session == self.session)
            {
                workers.remove(&self.key);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::snapshots::v1::SnapshotId;

    use super::*;

    fn worker(name: &str) -> Worker {
        Worker {
            pool: "p".into(),
            name: name.into(),
            ..Worker::default()
        }
    }

    fn ack(version: u64) -> Ack {
        let id = SnapshotId {
            pool: "p".into(),
            version,
            ..SnapshotId::default()
        };
        Ack {
            id: Some(id),
            ..Ack::default()
        }
    }

    #[test]
    fn a_version_counts_as_served_by_workers_that_have_it_or_a_newer_one() {
        let fleet = Fleet::default();
        let (one, two) = (fleet.join(worker("one")), fleet.join(worker("two")));
        one.ack(ack(7));
        assert_eq!(fleet.serving("p", 7), (1, 2));
        two.ack(ack(8));
        assert_eq!(fleet.serving("p", 7), (2, 2));
        assert_eq!(fleet.serving("other", 7), (0, 0));
    }

    #[test]
    fn workers_of_other_replicas_count_once_where_they_connected_last() {
        let fleet = Fleet::default();
        let _here = fleet.join(worker("one"));
        let serving = |name: &str, connected_at_unix_ms| Worker {
            connected_at_unix_ms,
            serving: ack(9).id,
            ..worker(name)
        };
        fleet.set_elsewhere(vec![serving("one", -1), serving("two", 5), worker("two")]);
        assert_eq!(fleet.serving("p", 9), (1, 2));
        assert_eq!(fleet.list_here("").len(), 1);
        fleet.set_elsewhere(vec![]);
        assert_eq!(fleet.serving("p", 9), (0, 1));
    }

    #[test]
    fn the_end_of_an_old_connection_does_not_remove_the_new_one() {
        let fleet = Fleet::default();
        let old = fleet.join(worker("one"));
        let new = fleet.join(worker("one"));
        drop(old);
        assert_eq!(fleet.list("p").len(), 1);
        drop(new);
        assert!(fleet.list("").is_empty());
    }
}

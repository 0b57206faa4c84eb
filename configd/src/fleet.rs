//! The workers that are connected to this configd, and what each of them serves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_proto::snapshots::v1::{Ack, Nack, Worker};
use tokio::sync::watch;

/// The connected workers; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    workers: Arc<Mutex<BTreeMap<WorkerKey, Entry>>>,
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

#[derive(Debug)]
struct Entry {
    /// Tells a reconnected worker from the connection that it left behind.
    session: u64,
    worker: Worker,
}

impl Fleet {
    /// Adds a worker; a second connection under the same name takes the place of the first.
    pub(crate) fn join(&self, worker: Worker) -> Presence {
        let key = WorkerKey {
            pool: worker.pool.as_str().into(),
            name: worker.name.as_str().into(),
        };
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
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let selected = workers
            .iter()
            .filter(|(key, _)| pool.is_empty() || *key.pool == *pool);
        selected.map(|(_, entry)| entry.worker.clone()).collect()
    }

    /// How many workers of a pool serve `version` or a newer one, and how many there are.
    pub(crate) fn serving(&self, pool: &str, version: u64) -> (usize, usize) {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = workers
            .iter()
            .filter(|(key, _)| *key.pool == *pool)
            .map(|(_, entry)| {
                entry
                    .worker
                    .serving
                    .as_ref()
                    .map_or(0, |serving| serving.version)
            });
        versions.fold((0, 0), |(served, all), one| {
            (served + usize::from(one >= version), all + 1)
        })
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

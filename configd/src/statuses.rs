//! Joins what the compiler says about each object with what the workers serve.
//!
//! A Gateway or a ListenerSet is `Programmed` only when every live worker of its pool, and at least
//! one, serves a snapshot that contains its generation. A listener says so when a certificate of its is out
//! of date, which the compiler cannot know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_compiler::{
    AllStatuses, Compilation, Diagnostic, ObjectKey, ObjectStatus, StatusText,
};
use tidegate_ir::PersistentMap;
use tidegate_store::{Marks, Rollout, SnapshotMeta};
use tokio::sync::watch;

use crate::fleet::Fleet;

mod certificates;

/// The newest compilation's word on every object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    /// The object set that was compiled.
    pub(crate) revision: u64,
    /// The count of changes to the pools' marks that it has seen.
    pub(crate) marks: u64,
    /// What the compiler says, shared with the board before where it says the same.
    pub(crate) statuses: Entries,
    /// Remarks, ordered by key and field.
    pub(crate) diagnostics: Arc<Vec<Diagnostic>>,
    /// What the statuses were made of.
    compiled: Arc<AllStatuses>,
    /// The pools that had a version.
    pools: BTreeSet<String>,
    /// Whether one of them held something back.
    has_freeze: bool,
}

/// What the compiler says about each object.
pub(crate) type Entries = PersistentMap<ObjectKey, Entry>;

/// What the compiler says about one object.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The compiler's status.
    pub(crate) status: ObjectStatus,
    /// For what workers serve.
    since: Option<Since>,
}

/// From when on workers serve what a status is about.
#[derive(Debug, Clone)]
enum Since {
    /// The pool, and its first version that contains the status.
    Version(Arc<str>, u64),
    /// Not before the pool is unfrozen, for this reason.
    Unfreeze(Arc<str>),
}

/// The newest version of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolHead {
    /// Its place in the chain.
    pub(crate) version: u64,
    /// Set while the pool is frozen.
    pub(crate) freeze: Option<Freeze>,
}

/// What a frozen pool holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Freeze {
    /// The object set that the frozen configuration was compiled from.
    revision: u64,
    /// One sentence that says who froze it, and the way out.
    message: Arc<str>,
}

impl PoolHead {
    /// A pool in which a version is on its way: what all its workers serve, and the rest waits.
    pub(crate) fn in_rollout(stable: &SnapshotMeta, rollout: &Rollout) -> Self {
        let (pool, id) = (&stable.pool, rollout.id);
        let message = format!(
            "Snapshot {id} of pool {pool} is being rolled out; this generation is served by all workers after that."
        );
        Self {
            version: stable.version,
            freeze: Some(Freeze {
                revision: stable.revision,
                message: message.into(),
            }),
        }
    }

    /// What a pool holds, if it is frozen.
    pub(crate) fn frozen(head: &SnapshotMeta, marks: &Marks) -> Option<Freeze> {
        let note = marks.freeze.as_ref()?;
        let (pool, by) = (&head.pool, &note.by);
        let message = format!(
            "Pool {pool} is frozen by {by}; this generation is served once it is unfrozen."
        );
        Some(Freeze {
            revision: head.revision,
            message: message.into(),
        })
    }
}

/// Holds the board; readers watch it.
#[derive(Debug)]
pub(crate) struct Statuses {
    board: watch::Sender<Board>,
}

impl Statuses {
    /// An empty board.
    pub(crate) fn new() -> Self {
        Self {
            board: watch::Sender::new(Board::default()),
        }
    }

    /// A reader.
    pub(crate) fn watch(&self) -> watch::Receiver<Board> {
        self.board.subscribe()
    }

    /// Forgets everything, when another configd compiles from now on.
    pub(crate) fn clear(&self) {
        self.board.send_replace(Board::default());
    }

    /// Takes a compilation in, after its snapshots were committed; the revision and the count of marks say what it
    /// has seen, `heads` are the pools' newest versions, and `changed_at` is the revision that last changed an object.
    pub(crate) fn publish(
        &self,
        (revision, marks): (u64, u64),
        compilation: Compilation,
        heads: &BTreeMap<String, PoolHead>,
        changed_at: impl Fn(&ObjectKey) -> Option<u64>,
    ) {
        let has_freeze = heads.values().any(|head| head.freeze.is_some());
        let pools: BTreeSet<String> = heads.keys().cloned().collect();
        self.board.send_modify(|board| {
            let entry = |status: &ObjectStatus| {
                let known = board.statuses.get(&status.key);
                let since = since(status, known, heads, &changed_at);
                let status = status.clone();
                Entry { status, since }
            };
            let compiled = compilation.statuses;
            let is_as_before = board.pools == pools && !board.has_freeze && !has_freeze;
            let statuses = if is_as_before {
                let mut statuses = board.statuses.clone();
                for (key, before, now) in compiled.since(&board.compiled) {
                    match now {
                        Some(now) if before != Some(now) => {
                            drop(statuses.insert(key.clone(), entry(now)));
                        }
                        Some(_) => {}
                        None => drop(statuses.remove(key)),
                    }
                }
                statuses
            } else {
                let all = compiled.iter();
                all.map(|(key, status)| (key.clone(), entry(status)))
                    .collect()
            };
            *board = Board {
                revision,
                marks,
                statuses,
                diagnostics: Arc::new(compilation.diagnostics.keys().cloned().collect()),
                compiled,
                pools,
                has_freeze,
            };
        });
    }
}

/// How many routes attach says nothing about whether workers serve the Gateway, so a route that comes or goes does not
/// make it wait for them.
fn is_same_but_counts(one: &StatusText, other: &StatusText) -> bool {
    one == other || without_counts(one) == without_counts(other)
}

fn without_counts(status: &StatusText) -> Value {
    let mut status = status.value();
    if let Some(fields) = status.as_object_mut() {
        fields.remove("attachedListenerSets");
    }
    let listeners = status.get_mut("listeners").and_then(Value::as_array_mut);
    for listener in listeners.into_iter().flatten() {
        if let Some(fields) = listener.as_object_mut() {
            fields.remove("attachedRoutes");
        }
    }
    status
}

/// Since when it is what it is: an unchanged status keeps its version, unless a rollback has taken it back.
fn since(
    status: &ObjectStatus,
    known: Option<&Entry>,
    heads: &BTreeMap<String, PoolHead>,
    changed_at: impl Fn(&ObjectKey) -> Option<u64>,
) -> Option<Since> {
    let pool = status.pool.clone()?;
    let head = heads.get(&*pool);
    if let Some(freeze) = head.and_then(|head| head.freeze.as_ref())
        && changed_at(&status.key).is_some_and(|at| at > freeze.revision)
    {
        return Some(Since::Unfreeze(freeze.message.clone()));
    }
    let unchanged = known.filter(|entry| {
        let known = &entry.status;
        (known.generation, &known.pool, &known.ports)
            == (status.generation, &status.pool, &status.ports)
            && is_same_but_counts(&entry.status.status, &status.status)
    });
    match unchanged.and_then(|entry| entry.since.clone()) {
        Some(since @ Since::Version(..)) => Some(since),
        _ => head.map(|head| Since::Version(pool, head.version)),
    }
}

impl Board {
    /// What the compiler says about an object.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Entry> {
        self.statuses.get(key)
    }

    /// The next second in which a certificate begins or ceases to be valid.
    pub(crate) fn next_turn(&self, now_unix_s: i64) -> Option<i64> {
        let shown = self.statuses.values().flat_map(|entry| &entry.status.shown);
        shown
            .filter_map(|shown| certificates::next_turn(shown, now_unix_s))
            .min()
    }
}

impl Entry {
    /// Whether more than the compiler says goes into its status: what workers serve, and the time.
    pub(crate) fn is_living(&self) -> bool {
        self.since.is_some() || !self.status.shown.is_empty()
    }

    /// The status as it is true at a time, with the workers' part.
    pub(crate) fn joined(&self, fleet: &Fleet, now_unix_s: i64) -> Value {
        let mut status = self.served(fleet);
        certificates::note(&mut status, &self.status, now_unix_s);
        status
    }

    /// The status with the workers' part.
    fn served(&self, fleet: &Fleet) -> Value {
        let mut status = self.status.status.value();
        let Some(message) = self.waits_for(fleet) else {
            return status;
        };
        hold_back(&mut status, &message);
        if let Some(listeners) = status.get_mut("listeners").and_then(Value::as_array_mut) {
            listeners
                .iter_mut()
                .for_each(|listener| hold_back(listener, &message));
        }
        status
    }
}

impl Entry {
    /// Why it is not served by every worker yet.
    fn waits_for(&self, fleet: &Fleet) -> Option<String> {
        let (pool, version) = match self.since.as_ref()? {
            Since::Version(pool, version) => (pool, *version),
            Since::Unfreeze(message) => return Some(message.to_string()),
        };
        match fleet.serving(pool, version) {
            (_, 0) => Some(format!("No worker of pool {pool} is connected.")),
            (served, all) if served < all => Some(format!(
                "{served} of {all} workers serve snapshot {version} or a newer one."
            )),
            _ => None,
        }
    }
}

/// Turns a `Programmed` that is true for the compiler into one that waits for the workers.
fn hold_back(owner: &mut Value, message: &str) {
    let Some(conditions) = owner.get_mut("conditions").and_then(Value::as_array_mut) else {
        return;
    };
    for condition in conditions {
        if condition["type"] == "Programmed" && condition["status"] == "True" {
            condition["status"] = json!("False");
            condition["reason"] = json!("Pending");
            condition["message"] = json!(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::snapshots::v1::{Ack, SnapshotId, Worker};

    use super::*;

    fn gateway() -> Compilation {
        gateway_with_routes(0)
    }

    fn gateway_with_routes(routes: u32) -> Compilation {
        let condition = json!({"type": "Programmed", "status": "True", "reason": "Programmed"});
        let text = |text: &str| Arc::<str>::from(text);
        let key = ObjectKey::new(
            "files",
            "gateway.networking.k8s.io",
            "Gateway",
            "infra",
            "web",
        );
        let listener = json!({"name": "http", "attachedRoutes": routes, "conditions": [condition]});
        let status = json!({"conditions": [condition], "listeners": [listener]});
        let status = ObjectStatus {
            key,
            uid: "u".into(),
            generation: 1,
            pool: Some(text("p")),
            ports: vec![],
            parameters: None,
            status: status.into(),
            shown: vec![],
        };
        Compilation {
            statuses: Arc::new([(status.key.clone(), status)].into_iter().collect()),
            ..Compilation::default()
        }
    }

    fn heads(version: u64) -> BTreeMap<String, PoolHead> {
        let freeze = None;
        BTreeMap::from([("p".to_owned(), PoolHead { version, freeze })])
    }

    fn programmed(statuses: &Statuses, fleet: &Fleet) -> (Value, Value) {
        let board = statuses.watch().borrow().clone();
        let joined = board
            .statuses
            .values()
            .next()
            .expect("one status")
            .joined(fleet, 0);
        let status = |owner: &Value| owner["conditions"][0]["status"].clone();
        (status(&joined), status(&joined["listeners"][0]))
    }

    #[test]
    fn a_gateway_is_programmed_only_when_every_worker_serves_it() {
        let statuses = Statuses::new();
        let fleet = Fleet::default();
        statuses.publish((5, 0), gateway(), &heads(7), |_| None);
        assert_eq!(
            programmed(&statuses, &fleet),
            (json!("False"), json!("False"))
        );

        let join = |name: &str| {
            fleet.join(Worker {
                pool: "p".into(),
                name: name.into(),
                ..Worker::default()
            })
        };
        let ack = |version| {
            let id = SnapshotId {
                pool: "p".into(),
                version,
                ..SnapshotId::default()
            };
            Ack {
                id: Some(id),
                ..Ack::default()
            }
        };
        let (one, two) = (join("one"), join("two"));
        one.ack(ack(7));
        assert_eq!(
            programmed(&statuses, &fleet),
            (json!("False"), json!("False"))
        );
        two.ack(ack(8));
        assert_eq!(
            programmed(&statuses, &fleet),
            (json!("True"), json!("True"))
        );
    }

    #[test]
    fn a_later_snapshot_of_other_objects_does_not_unprogram_a_gateway() {
        let statuses = Statuses::new();
        let fleet = Fleet::default();
        statuses.publish((5, 0), gateway(), &heads(7), |_| None);
        let worker = Worker {
            pool: "p".into(),
            name: "one".into(),
            ..Worker::default()
        };
        let presence = fleet.join(worker);
        let id = SnapshotId {
            pool: "p".into(),
            version: 7,
            ..SnapshotId::default()
        };
        presence.ack(Ack {
            id: Some(id),
            ..Ack::default()
        });
        statuses.publish((6, 0), gateway_with_routes(1), &heads(8), |_| None);
        assert_eq!(
            programmed(&statuses, &fleet),
            (json!("True"), json!("True"))
        );
    }
}

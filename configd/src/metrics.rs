//! What configd counts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tidegate_runtime::metrics::Metrics;
use tidegate_store::Store;

use crate::fleet::Fleet;
use crate::sources::{Standing, Watchman};

/// Seconds; a change of one route among thousands is to stay in the first few.
const COMPILE_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// What the publisher counts.
#[derive(Debug, Clone)]
pub(crate) struct PublisherMetrics {
    compile: Histogram,
}

impl PublisherMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let compile = Histogram::new(COMPILE_BUCKETS);
        metrics.register(|registry| {
            let help = "Time from a new revision to its compiled snapshots";
            registry.register("compile_duration_seconds", help, compile.clone());
        });
        Self { compile }
    }

    pub(crate) fn compiled(&self, elapsed: Duration) {
        self.compile.observe(elapsed.as_secs_f64());
    }
}

/// What is read off the store and the fleet now and then.
#[derive(Debug, Clone, Default)]
pub(crate) struct StateMetrics {
    revision: Gauge,
    workers: Gauge,
    snapshots: Gauge,
    raft: RaftMetrics,
    sources: SourceMetrics,
}

/// Where objects come from.
#[derive(Debug, Clone, Default)]
struct SourceMetrics {
    known: Gauge,
    stale: Gauge,
    held: Gauge,
}

impl SourceMetrics {
    fn register(&self, metrics: &Metrics) {
        metrics.register(|registry| {
            registry.register("sources", "Known sources", self.known.clone());
            let help = "Sources that are silent for longer than their lease";
            registry.register("sources_stale", help, self.stale.clone());
            let help = "Deletions that wait to be confirmed";
            registry.register("held_deletions", help, self.held.clone());
        });
    }

    fn update(&self, store: &Store, watchman: &Watchman) {
        let sources = store.sources();
        let stale = sources.iter();
        let stale = stale.filter(|(name, of)| watchman.standing(name, of) == Standing::Stale);
        let held = sources
            .iter()
            .filter_map(|(_, source)| source.held.as_ref());
        let held = held.map(|held| held.keys.len() as u64).sum();
        self.known.set(number(sources.len() as u64));
        self.stale.set(number(stale.count() as u64));
        self.held.set(number(held));
    }
}

/// The log and the cluster.
#[derive(Debug, Clone, Default)]
struct RaftMetrics {
    term: Gauge,
    leads: Gauge,
    last: Gauge,
    applied: Gauge,
    lag: Family<MemberLabels, Gauge>,
    /// The members whose lag is shown.
    shown: Arc<Mutex<BTreeSet<MemberLabels>>>,
    disk_free: Gauge,
    level: Gauge,
    highest_level: Gauge,
    disk_reserve: Gauge,
}

/// Which member, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct MemberLabels {
    member: String,
}

impl RaftMetrics {
    fn register(&self, metrics: &Metrics) {
        metrics.register(|registry| {
            registry.register("raft_term", "Raft's term", self.term.clone());
            let help = "1 where this configd leads, else 0";
            registry.register("raft_leader", help, self.leads.clone());
            let help = "Index of the last entry of the log";
            registry.register("raft_last_index", help, self.last.clone());
            let help = "Index of the last entry that is applied";
            registry.register("raft_applied_index", help, self.applied.clone());
            let help = "Log entries that a member has still to get, as the leader sees it";
            registry.register("raft_member_lag_entries", help, self.lag.clone());
            let help = "Feature level of the cluster: what its log may hold";
            registry.register("feature_level", help, self.level.clone());
            let help = "Highest feature level that this configd knows";
            registry.register("feature_level_known", help, self.highest_level.clone());
            let help = "Space of the data directory that is free";
            registry.register("disk_free_bytes", help, self.disk_free.clone());
            let help = "Space below which no write is taken";
            registry.register("disk_reserve_bytes", help, self.disk_reserve.clone());
        });
    }

    fn update(&self, store: &Store) {
        let raft = store.metrics();
        self.term.set(number(raft.term));
        self.leads.set(i64::from(store.is_leader()));
        self.last.set(number(raft.last_log_index.unwrap_or(0)));
        self.applied.set(number(raft.applied_index.unwrap_or(0)));
        self.level.set(i64::from(store.level()));
        self.highest_level.set(i64::from(store.highest_level()));
        let mut shown = BTreeSet::new();
        for status in store.members() {
            if let Some(lag) = status.lag {
                let member = status.member.name.clone();
                let labels = MemberLabels { member };
                self.lag.get_or_create(&labels).set(number(lag));
                shown.insert(labels);
            }
            if let Some(disk) = status.disk.filter(|_| status.id == raft.node_id) {
                self.disk_free.set(number(disk.free));
                self.disk_reserve.set(number(disk.reserve));
            }
        }
        // Members that went, and a lead that ended, leave nothing behind.
        let mut before = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in before.difference(&shown) {
            self.lag.remove(gone);
        }
        *before = shown;
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl StateMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let state = Self::default();
        metrics.register(|registry| {
            registry.register("revision", "Newest object set", state.revision.clone());
            registry.register("workers", "Connected workers", state.workers.clone());
            registry.register("pools", "Pools with a snapshot", state.snapshots.clone());
        });
        state.raft.register(metrics);
        state.sources.register(metrics);
        state
    }

    pub(crate) fn update(&self, store: &Store, fleet: &Fleet, watchman: &Watchman) {
        self.revision.set(number(store.revision()));
        self.workers.set(number(fleet.list_here("").len() as u64));
        self.snapshots.set(number(store.pools().len() as u64));
        self.raft.update(store);
        self.sources.update(store, watchman);
    }
}

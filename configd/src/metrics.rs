//! What configd counts.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tidegate_runtime::metrics::Metrics;
use tidegate_store::Store;

use crate::fleet::Fleet;

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
}

impl StateMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let state = Self::default();
        metrics.register(|registry| {
            registry.register("revision", "Newest object set", state.revision.clone());
            registry.register("workers", "Connected workers", state.workers.clone());
            registry.register("pools", "Pools with a snapshot", state.snapshots.clone());
        });
        state
    }

    pub(crate) fn update(&self, store: &Store, fleet: &Fleet) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.revision.set(number(store.revision()));
        self.workers.set(number(fleet.list("").len() as u64));
        self.snapshots.set(number(store.pools().len() as u64));
    }
}

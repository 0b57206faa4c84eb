//! What the operator counts.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tidegate_runtime::metrics::Metrics;

/// The counts; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct OperatorMetrics {
    pub(crate) sessions: Counter,
    pub(crate) sessions_ended: Counter,
    pub(crate) changes: Counter,
    pub(crate) refused: Counter,
    pub(crate) held: Gauge<i64, AtomicI64>,
    pub(crate) status_writes: Counter,
    pub(crate) status_conflicts: Counter,
    pub(crate) status_failures: Counter,
    pub(crate) applied: Counter,
    pub(crate) apply_failures: Counter,
    pub(crate) leads: Gauge<i64, AtomicI64>,
}

impl OperatorMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let own = Self::default();
        metrics.register(|registry| {
            let help = "Sessions opened with configd";
            registry.register("sessions_opened", help, own.sessions.clone());
            let help = "Sessions with configd that failed";
            registry.register("sessions_ended", help, own.sessions_ended.clone());
            let help = "Changes of objects that configd has taken";
            registry.register("object_changes", help, own.changes.clone());
            let help = "Versions of objects that configd does not take";
            registry.register("objects_refused", help, own.refused.clone());
            let help = "Objects that configd keeps although the cluster does not have them";
            registry.register("held_deletions", help, own.held.clone());
            let help = "Statuses written";
            registry.register("status_writes", help, own.status_writes.clone());
            let help =
                "Statuses that somebody else changed meanwhile, so that they were read again";
            registry.register("status_conflicts", help, own.status_conflicts.clone());
            let help = "Statuses that the API server did not take";
            registry.register("status_failures", help, own.status_failures.clone());
            let help = "Objects of worker pools applied";
            registry.register("pool_objects_applied", help, own.applied.clone());
            let help = "Worker pools that could not be applied";
            registry.register("pool_failures", help, own.apply_failures.clone());
            let help = "1 while this operator leads, else 0";
            registry.register("leads", help, own.leads.clone());
        });
        own
    }
}

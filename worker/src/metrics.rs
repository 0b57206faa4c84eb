//! The worker's metrics: counted per thread without locks, joined when they are read.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use tidegate_ir::{PartName, Snapshot};
use tidegate_proto::snapshots::v1::Traffic;
use tidegate_runtime::metrics::Metrics;

use crate::http::exchange::Record;
use crate::listen::ended::Ended;

use encode::{Conventional, Own};
pub(crate) use flows::FlowSeries;
use flows::{EndKey, FlowKey};
pub(crate) use udp::UdpPortCounts;

mod encode;
mod encode_flows;
mod flows;
mod udp;

/// Upper bounds of the duration buckets in seconds (OpenTelemetry, HTTP semantic conventions).
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Series per thread; what comes after is counted under one series with the route `__overflow__`.
pub(crate) const SERIES_MAX: usize = 10_000;

/// The metrics of all threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct WorkerMetrics {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    threads: Mutex<Vec<ThreadMetrics>>,
    snapshot_version: AtomicU64,
    snapshot_applied_at_unix_s: AtomicU64,
    applied: AtomicU64,
    refused: AtomicU64,
    apply_us: AtomicU64,
    log_lines_dropped: AtomicU64,
    /// What all threads had answered when the snapshot that is in use was applied.
    traffic_before: Mutex<Traffic>,
    /// End of validity by certificate, in seconds since 1970-01-01 UTC.
    certificates: Mutex<BTreeMap<PartName, i64>>,
}

/// The metrics of one thread, which alone writes them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ThreadMetrics {
    shared: Arc<PerThread>,
}

#[derive(Debug, Default)]
struct PerThread {
    series: Mutex<HashMap<SeriesKey, Arc<Series>>>,
    backends: Mutex<HashMap<PartName, Arc<Series>>>,
    active_requests: AtomicI64,
    /// gRPC exchanges that failed by another status than HTTP's.
    grpc_failed: AtomicU64,
    /// By the number of [`Ended`].
    connections_ended: [AtomicU64; Ended::ALL.len()],
    connections: Mutex<BTreeMap<u16, Arc<AtomicI64>>>,
    flows: Mutex<HashMap<FlowKey, Arc<FlowSeries>>>,
    flows_ended: Mutex<HashMap<EndKey, u64>>,
    udp_ports: Mutex<BTreeMap<u16, Arc<UdpPortCounts>>>,
}

/// What a series is about; bounded by the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct SeriesKey {
    gateway_namespace: Arc<str>,
    gateway: Arc<str>,
    listener: Arc<str>,
    route_kind: &'static str,
    route_namespace: Arc<str>,
    route: Arc<str>,
    rule: Arc<str>,
    http_response_status_code: u16,
    /// `none` where a backend answered.
    reason: &'static str,
}

/// Durations of the exchanges of one series. One thread writes, so a load and a store are enough.
#[derive(Debug, Default)]
pub(crate) struct Series {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_us: AtomicU64,
    retries: AtomicU64,
    ejections: AtomicU64,
}

impl WorkerMetrics {
    /// Adds the metrics to the process's.
    pub(crate) fn register(&self, metrics: &Metrics) {
        let collector = Conventional(self.clone());
        metrics.register_conventional(|registry| registry.register_collector(Box::new(collector)));
        let collector = Own(self.clone());
        metrics.register(|registry| registry.register_collector(Box::new(collector)));
    }

    /// Metrics for one more thread.
    pub(crate) fn thread(&self) -> ThreadMetrics {
        let thread = ThreadMetrics::default();
        lock(&self.shared.threads).push(thread.clone());
        thread
    }

    /// A snapshot is in use.
    pub(crate) fn applied(&self, snapshot: &Snapshot, took: Duration, at_unix_s: u64) {
        let version = snapshot.version;
        let (requests, errors) = self.answered();
        *lock(&self.shared.traffic_before) = Traffic {
            version,
            requests,
            errors,
        };
        let certificates = snapshot.certificates();
        *lock(&self.shared.certificates) = certificates
            .map(|c| (c.name.clone(), c.not_after_unix_s))
            .collect();
        self.shared
            .snapshot_version
            .store(version, Ordering::Relaxed);
        self.shared
            .snapshot_applied_at_unix_s
            .store(at_unix_s, Ordering::Relaxed);
        self.shared.applied.fetch_add(1, Ordering::Relaxed);
        self.shared
            .apply_us
            .fetch_add(micros(took), Ordering::Relaxed);
    }

    /// Requests that were answered since the snapshot that is in use was applied, and how many of them with 5xx
    /// or a gRPC status like it. Looks at every series of every thread.
    pub(crate) fn traffic(&self) -> Traffic {
        let begin = *lock(&self.shared.traffic_before);
        let (requests, errors) = self.answered();
        Traffic {
            version: begin.version,
            requests: requests.saturating_sub(begin.requests),
            errors: errors.saturating_sub(begin.errors),
        }
    }

    /// A snapshot was refused.
    pub(crate) fn refused(&self) {
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A line of the access log was dropped because its queue was full.
    pub(crate) fn log_line_dropped(&self) {
        self.shared
            .log_lines_dropped
            .fetch_add(1, Ordering::Relaxed);
    }
}

impl ThreadMetrics {
    /// The series of an exchange; the caller keeps it, so that this is asked once per series.
    pub(crate) fn series(&self, record: &Record) -> Arc<Series> {
        let key = SeriesKey::of(record);
        let mut series = lock(&self.shared.series);
        if let Some(known) = series.get(&key) {
            return known.clone();
        }
        let key = if series.len() < SERIES_MAX {
            key
        } else {
            SeriesKey::overflow()
        };
        series.entry(key).or_default().clone()
    }

    /// The series of the attempts at a backend; the caller keeps it.
    pub(crate) fn backend(&self, name: &PartName) -> Arc<Series> {
        let mut backends = lock(&self.shared.backends);
        if let Some(known) = backends.get(name) {
            return known.clone();
        }
        let has_room = backends.len() < SERIES_MAX;
        let name = if has_room {
            name.clone()
        } else {
            "__overflow__".into()
        };
        backends.entry(name).or_default().clone()
    }

    /// A request's head has arrived.
    pub(crate) fn request_started(&self) {
        let active = &self.shared.active_requests;
        active.store(active.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// A request's answer is complete, or given up.
    pub(crate) fn request_ended(&self) {
        let active = &self.shared.active_requests;
        active.store(active.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    /// A gRPC exchange ended with a status by which the server has failed, and with none of HTTP that says so.
    pub(crate) fn grpc_failed(&self) {
        add(&self.shared.grpc_failed, 1);
    }

    /// A connection ended before its time.
    pub(crate) fn connection_ended(&self, ended: Ended) {
        add(&self.shared.connections_ended[ended as usize], 1);
    }

    /// The number of open connections of a port.
    pub(crate) fn connections(&self, bind_port: u16) -> Arc<AtomicI64> {
        lock(&self.shared.connections)
            .entry(bind_port)
            .or_default()
            .clone()
    }
}

impl Series {
    /// Counts one exchange.
    pub(crate) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        add(&self.buckets[bucket], 1);
        add(&self.sum_us, micros(duration));
    }

    /// Counts an ejection of an endpoint.
    pub(crate) fn ejected(&self) {
        add(&self.ejections, 1);
    }

    /// Counts attempts beyond the first.
    pub(crate) fn retried(&self, retries: u32) {
        if retries > 0 {
            add(&self.retries, retries.into());
        }
    }
}

impl SeriesKey {
    fn of(record: &Record) -> Self {
        let mut key = Self::overflow();
        key.route = "__unmatched__".into();
        key.http_response_status_code = record.status;
        key.reason = record.reason.unwrap_or("none");
        if let Some(listener) = &record.listener {
            key.gateway_namespace = listener.listener.gateway.namespace.clone();
            key.gateway = listener.listener.gateway.name.clone();
            key.listener = listener.listener.section_name.clone();
        }
        if let Some(rule) = &record.rule {
            key.route_kind = rule.kind.object_kind();
            key.route_namespace = rule.route.namespace.clone();
            key.route = rule.route.name.clone();
            key.rule = rule.label.clone();
        }
        key
    }

    fn overflow() -> Self {
        let empty: Arc<str> = "".into();
        Self {
            gateway_namespace: empty.clone(),
            gateway: empty.clone(),
            listener: empty.clone(),
            route_kind: "",
            route_namespace: empty.clone(),
            route: "__overflow__".into(),
            rule: empty,
            http_response_status_code: 0,
            reason: "none",
        }
    }
}

fn add(counter: &AtomicU64, value: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(value),
        Ordering::Relaxed,
    );
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

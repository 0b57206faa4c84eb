//! Joining the metrics of all threads, in the exposition format.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use tidegate_ir::PartName;

use super::{BUCKETS, PerThread, Series, SeriesKey, WorkerMetrics, lock};
use crate::listen::ended::Ended;

/// Metrics whose names a convention gives.
#[derive(Debug)]
pub(super) struct Conventional(pub(super) WorkerMetrics);

/// Metrics with the project's prefix.
#[derive(Debug)]
pub(super) struct Own(pub(super) WorkerMetrics);

/// The sum of a series over all threads.
#[derive(Debug, Default)]
struct Total {
    buckets: [u64; BUCKETS.len() + 1],
    sum_us: u64,
    retries: u64,
    ejections: u64,
}

impl Total {
    fn add(&mut self, series: &Series) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&series.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        self.sum_us += series.sum_us.load(Ordering::Relaxed);
        self.retries += series.retries.load(Ordering::Relaxed);
        self.ejections += series.ejections.load(Ordering::Relaxed);
    }

    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = BUCKETS.into_iter().chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.buckets).collect();
        let (sum, count) = (self.sum_us as f64 / 1e6, self.buckets.iter().sum());
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl WorkerMetrics {
    fn series(&self) -> BTreeMap<SeriesKey, Total> {
        let mut totals: BTreeMap<SeriesKey, Total> = BTreeMap::new();
        for thread in lock(&self.shared.threads).iter() {
            for (key, series) in lock(&thread.shared.series).iter() {
                totals.entry(key.clone()).or_default().add(series);
            }
        }
        totals
    }

    /// Requests that were answered since the process began, and how many of them with 5xx or a gRPC status like it.
    pub(super) fn answered(&self) -> (u64, u64) {
        let (mut requests, mut errors) = (0, 0);
        for thread in lock(&self.shared.threads).iter() {
            errors += thread.shared.grpc_failed.load(Ordering::Relaxed);
            for (key, series) in lock(&thread.shared.series).iter() {
                let buckets = series.buckets.iter();
                let count: u64 = buckets.map(|bucket| bucket.load(Ordering::Relaxed)).sum();
                requests += count;
                errors += if key.http_response_status_code >= 500 {
                    count
                } else {
                    0
                };
            }
        }
        (requests, errors)
    }

    fn backends(&self) -> BTreeMap<PartName, Total> {
        let mut totals: BTreeMap<PartName, Total> = BTreeMap::new();
        for thread in lock(&self.shared.threads).iter() {
            for (name, series) in lock(&thread.shared.backends).iter() {
                totals.entry(name.clone()).or_default().add(series);
            }
        }
        totals
    }

    fn connections(&self) -> BTreeMap<u16, i64> {
        let mut ports = BTreeMap::new();
        for thread in lock(&self.shared.threads).iter() {
            for (port, open) in lock(&thread.shared.connections).iter() {
                *ports.entry(*port).or_default() += open.load(Ordering::Relaxed);
            }
        }
        ports
    }

    fn sum<T: std::iter::Sum>(&self, read: impl Fn(&PerThread) -> T) -> T {
        lock(&self.shared.threads)
            .iter()
            .map(|thread| read(&thread.shared))
            .sum()
    }
}

impl Collector for Conventional {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let name = "http_server_request_duration";
        let help = "Time from a request's head to the end of its answer";
        let seconds = Some(&Unit::Seconds);
        let mut family = encoder.encode_descriptor(name, help, seconds, MetricType::Histogram)?;
        for (key, total) in self.0.series() {
            total.encode(&mut family.encode_family(&key)?)?;
        }
        let name = "http_client_request_duration";
        let help = "Time from the start of an attempt at a backend to the head of its answer";
        let mut family = encoder.encode_descriptor(name, help, seconds, MetricType::Histogram)?;
        for (backend, total) in self.0.backends() {
            total.encode(&mut family.encode_family(&[("backend", &*backend)])?)?;
        }
        let (name, help) = (
            "http_server_active_requests",
            "Requests without a complete answer",
        );
        let active = self
            .0
            .sum(|thread| thread.active_requests.load(Ordering::Relaxed));
        encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&active)
    }
}

impl Collector for Own {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.encode_snapshot(&mut encoder)?;
        self.encode_counters(&mut encoder)?;
        self.0.encode_flows(&mut encoder)?;
        self.0.encode_udp(&mut encoder)?;
        let (name, help) = (
            "connections",
            "Open client connections by the listeners' port",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (port, open) in self.0.connections() {
            family
                .encode_family(&[("port", u64::from(port))])?
                .encode_gauge(&open)?;
        }
        let name = "upstream_retries";
        let help = "Attempts at a backend beyond the first of a request";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (backend, total) in self.0.backends() {
            family
                .encode_family(&[("backend", &*backend)])?
                .encode_counter::<NoLabelSet, _, u64>(&total.retries, None)?;
        }
        let name = "upstream_ejections";
        let help = "Endpoints that were left out for a while because they failed in a row";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (backend, total) in self.0.backends() {
            family
                .encode_family(&[("backend", &*backend)])?
                .encode_counter::<NoLabelSet, _, u64>(&total.ejections, None)?;
        }
        let name = "certificate_expiry_timestamp_seconds";
        let help = "End of validity, in seconds since 1970-01-01 UTC";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (certificate, not_after) in lock(&self.0.shared.certificates).iter() {
            family
                .encode_family(&[("certificate", &**certificate)])?
                .encode_gauge(not_after)?;
        }
        Ok(())
    }
}

impl Own {
    fn encode_snapshot(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let shared = &self.0.shared;
        let applied_at = "When the snapshot in use was applied, in seconds since 1970-01-01 UTC";
        for (name, help, value) in [
            (
                "snapshot_version",
                "Version of the snapshot in use",
                &shared.snapshot_version,
            ),
            (
                "snapshot_applied_timestamp_seconds",
                applied_at,
                &shared.snapshot_applied_at_unix_s,
            ),
        ] {
            let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            let value = value.load(Ordering::Relaxed);
            gauge.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let shared = &self.0.shared;
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        for (name, help, value) in [
            (
                "snapshots_applied",
                "Snapshots taken into use",
                read(&shared.applied),
            ),
            (
                "snapshots_refused",
                "Snapshots refused",
                read(&shared.refused),
            ),
            (
                "snapshot_apply_us",
                "Time spent applying snapshots",
                read(&shared.apply_us),
            ),
            (
                "access_log_dropped",
                "Lines dropped, queue full",
                read(&shared.log_lines_dropped),
            ),
        ] {
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        let name = "connections_ended";
        let help = "Client connections that ended before their time";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for &ended in Ended::ALL {
            let count = self
                .0
                .sum(|thread| read(&thread.connections_ended[ended as usize]));
            family
                .encode_family(&[("reason", ended.reason())])?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}

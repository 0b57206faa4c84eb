//! What the worker's tests share: a fake configd, fake backends, a raw client.
#![allow(unreachable_pub, reason = "nothing outside of the tests sees it")]

pub mod backend;
pub mod bytes;
pub mod client;
pub mod configd;
pub mod frames;
pub mod parts;
pub mod process;
pub mod scripted;
pub mod tls;
pub mod udp;
pub mod wire;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tidegate_runtime::drain::Drain;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tidegate_worker::{
    AccessLogTo, BindPolicy, Edge, Limits, PortPolicy, Worker, WorkerHandle, WorkerOptions,
};

use tidegate_ir::{Listener, Part, Rule};

use self::configd::{Configd, snapshot};
use self::parts::{listener, route};
use self::process::value_of;

/// A worker under test.
pub struct Running {
    pub configd: Configd,
    pub worker: WorkerHandle,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub drain: Drain,
}

/// How a worker under test differs from the usual one.
#[derive(Clone, Default)]
pub struct Setup {
    pub last_good: Option<PathBuf>,
    pub exact_ports: bool,
    /// Where listeners are bound; the loopback address unless it is said.
    pub bind: Option<IpAddr>,
    pub limits: Limits,
    pub edge: Edge,
    pub threads: Option<usize>,
    pub access_log: AccessLogTo,
    pub traces: bool,
}

impl Running {
    /// A worker with one listener, one route with these rules, and backends.
    pub async fn serving(rules: Vec<Rule>, backends: Vec<Vec<Part>>) -> Self {
        Self::serving_with(Setup::default(), listener(), rules, backends).await
    }

    pub async fn serving_with(
        setup: Setup,
        listener: Listener,
        rules: Vec<Rule>,
        backends: Vec<Vec<Part>>,
    ) -> Self {
        let running = Self::start_with(setup).await;
        let parts = [Part::from(listener), Part::Route(route("r", rules))];
        let parts = parts.into_iter().chain(backends.into_iter().flatten());
        running.configd.apply(&snapshot(1, parts)).await;
        running
    }

    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub async fn start_with(setup: Setup) -> Self {
        let configd = Configd::start().await;
        Self::start_at(configd, setup).await
    }

    pub async fn start_at(configd: Configd, setup: Setup) -> Self {
        let policy = if setup.exact_ports {
            BindPolicy::Exact
        } else {
            BindPolicy::Any
        };
        let options = WorkerOptions {
            configds: configd.channel().into(),
            pool: configd::POOL.into(),
            name: "worker-0".into(),
            threads: setup.threads.or(Some(2)),
            ports: PortPolicy {
                address: setup.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                policy,
                privileged_ports: false,
            },
            last_good: setup.last_good,
            access_log: setup.access_log,
            traces: setup.traces,
            limits: setup.limits,
            edge: setup.edge,
            drain_delay: Duration::ZERO,
        };
        let metrics = Metrics::new("tidegate", "worker", "test");
        let readiness = Readiness::new();
        let drain = Drain::new(Duration::from_secs(10));
        let worker = Worker::start(options, &metrics, &readiness, &drain)
            .await
            .unwrap();
        Self {
            configd,
            worker,
            metrics,
            readiness,
            drain,
        }
    }

    /// Waits until a text stands in the metrics.
    pub async fn wait_for_metric(&self, text: &str) {
        for _ in 0..500 {
            if self.metrics.encode().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {text} in {}", self.metrics.encode());
    }

    /// The value of a metric, the sum of all series with these labels.
    pub fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        value_of(&self.metrics.encode(), name, labels)
    }

    /// Waits until a metric has a value that will do.
    pub async fn wait_for_value(
        &self,
        name: &str,
        labels: &[&str],
        is_right: impl Fn(u64) -> bool,
    ) {
        for _ in 0..1000 {
            if is_right(self.metric(name, labels)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} {labels:?} in {}", self.metrics.encode());
    }

    /// The address of a listener by its section name.
    pub fn address(&self, section: &str) -> SocketAddr {
        let suffix = format!("/{section}");
        let listeners = self.worker.listeners();
        let found = listeners
            .iter()
            .find(|bound| bound.listener.ends_with(&suffix));
        found
            .unwrap_or_else(|| panic!("no listener {section} in {listeners:?}"))
            .address
    }
}

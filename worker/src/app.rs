//! The worker as a whole: threads, control task, drain.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tidegate_runtime::drain::Drain;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::{Condition, Readiness};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::access_log::{AccessLog, AccessLogTo};
use crate::apply::{Applier, BoundListener, InUse};
use crate::configds::Configds;
use crate::edge::Edge;
use crate::last_good::LastGood;
use crate::limits::Limits;
use crate::listen::PortPolicy;
use crate::listen::tls::TlsBuilder;
use crate::metrics::WorkerMetrics;
use crate::pressure::Pressure;
use crate::subscribe::Subscription;
use crate::terms::Terms;
use crate::thread::{self, ThreadOptions};

/// How long threads get to end once they were told to shut down.
const SHUT_DOWN_GRACE: Duration = Duration::from_secs(1);

/// The shortest time between two writes of the last good snapshot.
const STORE_INTERVAL: Duration = Duration::from_secs(1);

/// What a worker is started with.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Where configd's replicas are; connected when first used, so that none need be up.
    pub configds: Configds,
    /// The pool to follow.
    pub pool: Arc<str>,
    /// Unique name of this process, 1 to 253 bytes.
    pub name: Arc<str>,
    /// Number of data threads; `None` for one per core.
    pub threads: Option<usize>,
    /// Where listeners are bound.
    pub ports: PortPolicy,
    /// The file that keeps the last applied snapshot; `None` keeps none.
    pub last_good: Option<PathBuf>,
    /// Where a line per exchange is written to.
    pub access_log: AccessLogTo,
    /// Whether spans leave the process.
    pub traces: bool,
    /// Bounds of the data plane.
    pub limits: Limits,
    /// How clients are met.
    pub edge: Edge,
    /// Time between not being ready and not accepting, for load balancers to notice.
    pub drain_delay: Duration,
}

/// The worker.
#[derive(Debug)]
pub struct Worker;

/// A running worker; dropping the handle does not stop it, the drain does.
#[derive(Debug)]
pub struct WorkerHandle {
    in_use: watch::Receiver<Option<InUse>>,
    drain: Drain,
}

impl Worker {
    /// Starts a worker: at first it serves the last good snapshot, if there is one, then what configd
    /// sends. It ends with `drain`, whose tasks it joins.
    ///
    /// # Errors
    /// When the system has no threads or randomness left.
    pub async fn start(
        options: WorkerOptions,
        metrics: &Metrics,
        readiness: &Readiness,
        drain: &Drain,
    ) -> anyhow::Result<WorkerHandle> {
        let condition = readiness.condition("snapshot", "no snapshot is applied yet");
        let worker_metrics = WorkerMetrics::default();
        worker_metrics.register(metrics);
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let count = options.threads.unwrap_or_else(cores).max(1);
        let limits = Arc::new(options.limits.clone().for_threads(count));
        let queue_max = limits.access_log_queue_max;
        let access_log = AccessLog::start(options.access_log, queue_max, worker_metrics.clone());
        let pressure = Pressure::default();
        watch_memory(pressure.clone(), limits.clone(), drain);
        let thread_options = ThreadOptions {
            limits: limits.clone(),
            open_connections: Arc::default(),
            pressure: pressure.clone(),
            access_log: access_log.context("starting the access log")?,
            traces: options.traces,
            shut_down: CancellationToken::new(),
        };
        let started = (0..count).map(|index| {
            let metrics = worker_metrics.thread();
            thread::start(index, thread_options.clone(), metrics).context("starting a data thread")
        });
        let started: Vec<_> = started.collect::<anyhow::Result<_>>()?;
        let (threads, ends) = started.into_iter().unzip();
        let applier = Applier::new(
            options.ports,
            Terms {
                port: None,
                edge: options.edge,
                limits: (*limits).clone(),
            },
            TlsBuilder::new().context("preparing TLS")?,
            threads,
            drain.tasks().clone(),
            worker_metrics,
        );
        let handle = WorkerHandle {
            in_use: applier.in_use.subscribe(),
            drain: drain.clone(),
        };
        let control = Control {
            subscription: Subscription {
                configds: options.configds,
                pool: options.pool,
                worker: options.name,
                limits,
            },
            last_good: options.last_good.map(LastGood::new),
            condition,
            drain: drain.clone(),
            drain_delay: options.drain_delay,
            shut_down: thread_options.shut_down,
            ends,
        };
        drain.tasks().spawn("worker", control.run(applier));
        Ok(handle)
    }
}

/// Has new connections shed while there is too little memory, until the drain begins.
fn watch_memory(pressure: Pressure, limits: Arc<Limits>, drain: &Drain) {
    let end = drain.clone();
    drain.tasks().spawn("memory", async move {
        tokio::select! {
            () = pressure.watch(limits) => {}
            () = end.started() => {}
        }
    });
}

impl WorkerHandle {
    /// The sockets in use, ordered by listener name; empty before the first snapshot.
    pub fn listeners(&self) -> Vec<BoundListener> {
        self.in_use
            .borrow()
            .as_ref()
            .map(|used| used.listeners.clone())
            .unwrap_or_default()
    }

    /// The version in use; 0 before the first snapshot.
    pub fn version(&self) -> u64 {
        self.in_use
            .borrow()
            .as_ref()
            .map_or(0, |used| used.serving.snapshot.version)
    }

    /// Waits until a version of at least `version` is in use on every thread; `false` when the worker
    /// ends before.
    pub async fn serves(&mut self, version: u64) -> bool {
        let serves = |used: &Option<InUse>| {
            used.as_ref()
                .is_some_and(|used| used.serving.snapshot.version >= version)
        };
        self.in_use.wait_for(serves).await.is_ok()
    }

    /// Waits for the next change of what is in use; `false` when the worker ends before.
    pub async fn changed(&mut self) -> bool {
        self.in_use.changed().await.is_ok()
    }

    /// Starts draining the whole process: not ready, then no new connections, then none.
    pub fn drain(&self) {
        self.drain.start("the worker was asked to drain");
    }
}

/// The control task.
struct Control {
    subscription: Subscription,
    last_good: Option<LastGood>,
    condition: Condition,
    drain: Drain,
    drain_delay: Duration,
    shut_down: CancellationToken,
    ends: Vec<oneshot::Receiver<()>>,
}

impl Control {
    async fn run(mut self, mut applier: Applier) {
        self.load_last_good(&mut applier).await;
        self.watch_in_use(applier.in_use.subscribe());
        tokio::select! {
            () = self.drain.started() => {}
            () = self.subscription.run(&mut applier) => {}
        }
        self.condition.unset("draining");
        tokio::select! {
            () = self.drain.shut_down() => {}
            () = tokio::time::sleep(self.drain_delay) => {}
        }
        applier.stop_accepting();
        // Without commands, threads end as soon as their work is done.
        drop(applier);
        let ends = futures_util::future::join_all(&mut self.ends);
        tokio::select! {
            _ = ends => return,
            () = self.drain.shut_down() => self.shut_down.cancel(),
        }
        let ends = futures_util::future::join_all(self.ends);
        if tokio::time::timeout(SHUT_DOWN_GRACE, ends).await.is_err() {
            tracing::warn!("data threads did not end in time");
        }
    }

    async fn load_last_good(&self, applier: &mut Applier) {
        let Some(file) = self.last_good.clone() else {
            return;
        };
        let loaded = self
            .drain
            .tasks()
            .spawn_blocking("last good load", move || file.load())
            .await;
        let (id, snapshot) = match loaded {
            Ok(Ok(Some(found))) if found.1.pool == self.subscription.pool => found,
            Ok(Ok(_)) | Err(_) => return,
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "starting without the last good snapshot");
                return;
            }
        };
        let version = snapshot.version;
        match applier.apply(snapshot, id).await {
            Ok(_) => tracing::info!(version, "serving the last good snapshot"),
            Err(error) => tracing::warn!(version, %error, "the last good snapshot was refused"),
        }
    }

    /// Tells readiness and the disk of each snapshot; the disk skips those that were replaced meanwhile.
    fn watch_in_use(&self, mut in_use: watch::Receiver<Option<InUse>>) {
        let (condition, file) = (self.condition.clone(), self.last_good.clone());
        let (drain, tasks) = (self.drain.clone(), self.drain.tasks().clone());
        in_use.mark_changed();
        self.drain.tasks().spawn("last good", async move {
            while in_use.changed().await.is_ok() {
                let Some(used) = in_use.borrow_and_update().clone() else {
                    continue;
                };
                if !drain.is_started() {
                    condition.set();
                }
                let Some(file) = file.clone() else { continue };
                let store = move || file.store(used.id, &used.serving.snapshot);
                if let Ok(Err(error)) = tasks.spawn_blocking("last good store", store).await {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "the last good snapshot was not stored");
                }
                tokio::select! {
                    () = tokio::time::sleep(STORE_INTERVAL) => {}
                    () = drain.started() => {}
                }
            }
        });
    }
}

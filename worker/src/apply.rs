//! Taking a snapshot into use: whole or not at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tidegate_ir::{PartName, Snapshot};
use tidegate_proto::snapshots::v1::SnapshotId;
use tidegate_runtime::tasks::Tasks;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::listen::PortPolicy;
use crate::listen::tls::TlsBuilder;
use crate::metrics::WorkerMetrics;
use crate::serving::Serving;
use crate::terms::Terms;
use crate::thread::Command;
use crate::update::{PartProblem, Refusal};
use crate::upstream::Dns;

mod ports;

use ports::Ports;

/// A listener's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundListener {
    /// Name of the listener's part: Gateway namespace, Gateway name and section name, joined by `/`.
    pub listener: PartName,
    /// The port that the listener asks for.
    pub port: u16,
    /// What is bound; its port differs where the asked one is below 1024 or taken.
    pub address: SocketAddr,
    /// Whether TLS ends there.
    pub tls: bool,
}

/// Takes snapshots into use, one at a time.
#[derive(Debug)]
pub(crate) struct Applier {
    ports: Ports,
    /// For ports whose listeners do not say otherwise.
    own: Arc<Terms>,
    pub(crate) tls: Arc<TlsBuilder>,
    /// Looks names of backends up until the applier ends.
    dns: Dns,
    _lookups: DropGuard,
    pub(crate) threads: Vec<mpsc::Sender<Command>>,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: WorkerMetrics,
    /// What is in use, for those who watch.
    pub(crate) in_use: watch::Sender<Option<InUse>>,
}

/// A snapshot in use.
#[derive(Debug, Clone)]
pub(crate) struct InUse {
    pub(crate) id: SnapshotId,
    pub(crate) serving: Arc<Serving>,
    /// Ordered by name.
    pub(crate) listeners: Vec<BoundListener>,
}

impl Applier {
    pub(crate) fn new(
        ports: PortPolicy,
        own: Terms,
        tls: TlsBuilder,
        threads: Vec<mpsc::Sender<Command>>,
        tasks: Tasks,
        metrics: WorkerMetrics,
    ) -> Self {
        let lookups = CancellationToken::new();
        Self {
            ports: Ports::new(ports, own.limits.backlog_len_max),
            own: Arc::new(own),
            tls: Arc::new(tls),
            threads,
            dns: Dns::new(tasks.clone(), lookups.clone()),
            _lookups: lookups.drop_guard(),
            tasks,
            metrics,
            in_use: watch::Sender::new(None),
        }
    }

    /// What is in use now.
    pub(crate) fn in_use(&self) -> Option<InUse> {
        self.in_use.borrow().clone()
    }

    /// Takes the snapshot with that id into use on every thread; where that fails, the one before stays.
    ///
    /// # Errors
    /// When the snapshot cannot be built or one of its ports cannot be bound.
    pub(crate) async fn apply(
        &mut self,
        snapshot: Snapshot,
        id: SnapshotId,
    ) -> Result<InUse, Refusal> {
        let started = Instant::now();
        let applied = self.try_apply(snapshot, id).await;
        match &applied {
            Ok(used) => {
                let snapshot = &used.serving.snapshot;
                self.metrics
                    .applied(snapshot, started.elapsed(), now_unix_s());
            }
            Err(_) => self.metrics.refused(),
        }
        applied
    }

    async fn try_apply(&mut self, snapshot: Snapshot, id: SnapshotId) -> Result<InUse, Refusal> {
        let serving = Arc::new(self.build(snapshot).await?);
        let count = self.threads.len();
        let new = self.ports.bind_new(&serving.snapshot, count).await?;
        self.swap(&serving).await;
        self.ports.serve(new, &self.threads).await;
        let in_use = InUse {
            id,
            listeners: self.bound_listeners(&serving.snapshot),
            serving,
        };
        self.ports.stop_unused(&in_use.serving.snapshot).await;
        self.in_use.send_replace(Some(in_use.clone()));
        Ok(in_use)
    }

    async fn build(&self, snapshot: Snapshot) -> Result<Serving, Refusal> {
        let previous = self.in_use().map(|in_use| in_use.serving);
        let (tls, dns, own) = (self.tls.clone(), self.dns.clone(), self.own.clone());
        let build = move || Serving::build(snapshot, previous.as_deref(), &tls, &dns, &own);
        let built = self.tasks.spawn_blocking("snapshot build", build).await;
        match built {
            Ok(built) => built.map_err(|problems| {
                Refusal::Problems(problems.into_iter().map(PartProblem::from).collect())
            }),
            Err(panic) => {
                let message = format!("building the snapshot failed: {panic}");
                Err(Refusal::Problems(vec![PartProblem::of_whole(message)]))
            }
        }
    }

    /// Takes no new connections and flows from now on.
    pub(crate) fn stop_accepting(&self) {
        self.ports.stop();
    }

    async fn swap(&self, serving: &Arc<Serving>) {
        let mut swapped = Vec::with_capacity(self.threads.len());
        for thread in &self.threads {
            let (done, waits) = oneshot::channel();
            // A thread that has ended, in a shutdown, needs no configuration.
            if thread
                .send(Command::Swap(serving.clone(), done))
                .await
                .is_ok()
            {
                swapped.push(waits);
            }
        }
        for waits in swapped {
            let _ = waits.await;
        }
    }

    fn bound_listeners(&self, snapshot: &Snapshot) -> Vec<BoundListener> {
        let bound = snapshot.listeners().filter_map(|listener| {
            let address = self.ports.address(listener)?;
            Some(BoundListener {
                listener: listener.name.clone(),
                port: listener.port,
                address,
                tls: listener.protocol.ends_tls_with().is_some(),
            })
        });
        bound.collect()
    }
}

fn now_unix_s() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.unwrap_or(Duration::ZERO).as_secs()
}

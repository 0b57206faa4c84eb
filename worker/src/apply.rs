//! Taking a snapshot into use: whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tidegate_ir::{ListenerProtocol, PartKey, PartKind, PartName, Snapshot};
use tidegate_proto::snapshots::v1::SnapshotId;
use tidegate_runtime::tasks::Tasks;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::listen::tls::TlsBuilder;
use crate::listen::{BindError, PortPolicy, bind};
use crate::metrics::WorkerMetrics;
use crate::serving::Serving;
use crate::thread::Command;
use crate::update::{PartProblem, Refusal};
use crate::upstream::Dns;

/// The longest that the sockets of an unused port are waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

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
    pub(crate) ports: PortPolicy,
    pub(crate) backlog: i32,
    pub(crate) tls: Arc<TlsBuilder>,
    /// Looks names of backends up until the applier ends.
    dns: Dns,
    _lookups: DropGuard,
    pub(crate) threads: Vec<mpsc::Sender<Command>>,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: WorkerMetrics,
    /// Ends accepting on every port.
    pub(crate) accepting: CancellationToken,
    /// What is in use, for those who watch.
    pub(crate) in_use: watch::Sender<Option<InUse>>,
    bound: BTreeMap<u16, BoundPort>,
}

/// A snapshot in use.
#[derive(Debug, Clone)]
pub(crate) struct InUse {
    pub(crate) id: SnapshotId,
    pub(crate) serving: Arc<Serving>,
    /// Ordered by name.
    pub(crate) listeners: Vec<BoundListener>,
}

#[derive(Debug)]
struct BoundPort {
    address: SocketAddr,
    stop: CancellationToken,
    /// Ends when every thread has closed its socket.
    sockets: mpsc::Receiver<()>,
}

/// A port that is bound but not yet served.
struct NewPort {
    port: u16,
    address: SocketAddr,
    listeners: Vec<TcpListener>,
}

impl Applier {
    pub(crate) fn new(
        ports: PortPolicy,
        backlog: i32,
        tls: TlsBuilder,
        threads: Vec<mpsc::Sender<Command>>,
        tasks: Tasks,
        metrics: WorkerMetrics,
    ) -> Self {
        let lookups = CancellationToken::new();
        Self {
            ports,
            backlog,
            tls: Arc::new(tls),
            threads,
            dns: Dns::new(tasks.clone(), lookups.clone()),
            _lookups: lookups.drop_guard(),
            tasks,
            metrics,
            accepting: CancellationToken::new(),
            in_use: watch::Sender::new(None),
            bound: BTreeMap::new(),
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
        let new = self.bind_new(&serving.snapshot)?;
        self.swap(&serving).await;
        self.serve(new).await;
        let in_use = InUse {
            id,
            listeners: self.bound_listeners(&serving.snapshot),
            serving,
        };
        self.stop_unused(&in_use.serving.snapshot).await;
        self.in_use.send_replace(Some(in_use.clone()));
        Ok(in_use)
    }

    async fn build(&self, snapshot: Snapshot) -> Result<Serving, Refusal> {
        let previous = self.in_use().map(|in_use| in_use.serving);
        let (tls, dns) = (self.tls.clone(), self.dns.clone());
        let build = move || Serving::build(snapshot, previous.as_deref(), &tls, &dns);
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

    fn bind_new(&self, snapshot: &Snapshot) -> Result<Vec<NewPort>, Refusal> {
        let mut new = Vec::new();
        let mut problems = Vec::new();
        let wanted = ports(snapshot)
            .into_iter()
            .filter(|port| !self.bound.contains_key(port));
        let mut wanted: Vec<u16> = wanted.collect();
        // Port 80, which is moved to 8080, does not take it from a listener that asks for 8080.
        wanted.sort_by_key(|port| self.ports.first_choice(*port) != *port);
        for port in wanted {
            match bind(&self.ports, port, self.threads.len(), self.backlog) {
                Ok((address, listeners)) => new.push(NewPort {
                    port,
                    address,
                    listeners,
                }),
                Err(error) => problems.extend(of_port(snapshot, port, &with_cause(&error))),
            }
        }
        if problems.is_empty() {
            Ok(new)
        } else {
            Err(Refusal::Problems(problems))
        }
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

    async fn serve(&mut self, new: Vec<NewPort>) {
        for NewPort {
            port,
            address,
            listeners,
        } in new
        {
            tracing::info!(port, %address, "listening");
            let stop = self.accepting.child_token();
            let (socket, sockets) = mpsc::channel(1);
            for (thread, listener) in self.threads.iter().zip(listeners) {
                let (stop, socket) = (stop.clone(), socket.clone());
                let command = Command::Listen {
                    bind_port: port,
                    listener,
                    stop,
                    socket,
                };
                // As above: only a shutdown ends threads.
                let _ = thread.send(command).await;
            }
            self.bound.insert(
                port,
                BoundPort {
                    address,
                    stop,
                    sockets,
                },
            );
        }
    }

    /// Closes the ports that no listener asks for any more; open connections go on until they end. Waits
    /// for the sockets, so that a snapshot that asks for the port again finds it free.
    async fn stop_unused(&mut self, snapshot: &Snapshot) {
        let used = ports(snapshot);
        let unused = self.bound.extract_if(.., |port, _| !used.contains(port));
        let mut unused: Vec<_> = unused.collect();
        for (port, bound) in &unused {
            tracing::info!(port, address = %bound.address, "closing a port without listeners");
            bound.stop.cancel();
        }
        for (port, bound) in &mut unused {
            if tokio::time::timeout(CLOSE_TIMEOUT, bound.sockets.recv())
                .await
                .is_err()
            {
                tracing::warn!(port, "a thread has not closed its socket yet");
            }
        }
    }

    fn bound_listeners(&self, snapshot: &Snapshot) -> Vec<BoundListener> {
        let bound = snapshot.listeners().filter_map(|listener| {
            let address = self.bound.get(&listener.bind_port)?.address;
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

fn ports(snapshot: &Snapshot) -> BTreeSet<u16> {
    let listeners = snapshot.listeners();
    let listeners = listeners.filter(|listener| listener.protocol != ListenerProtocol::Udp);
    listeners.map(|listener| listener.bind_port).collect()
}

fn of_port(snapshot: &Snapshot, port: u16, message: &str) -> Vec<PartProblem> {
    let listeners = snapshot
        .listeners()
        .filter(|listener| listener.bind_port == port);
    let problem = |listener: &tidegate_ir::Listener| PartProblem {
        part: Some(PartKey::new(PartKind::Listener, listener.name.clone())),
        message: message.to_owned(),
    };
    listeners.map(problem).collect()
}

fn with_cause(error: &BindError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn now_unix_s() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.unwrap_or(Duration::ZERO).as_secs()
}

//! A data thread: its own runtime, sockets, connections to backends, and pointer to the configuration.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tidegate_runtime::backoff::SplitMix64;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::access_log::AccessLog;
use crate::date::Date;
use crate::http::exchange::Record;
use crate::l4::relay::Pools;
use crate::l4::udp::{Datagrams, Udp};
use crate::lane::Lane;
use crate::limits::Limits;
use crate::listen::accept;
use crate::listen::ended::Ended;
use crate::listen::open::OpenConnections;
use crate::metrics::{SERIES_MAX, Series, ThreadMetrics};
use crate::pressure::Pressure;
use crate::serving::Serving;
use crate::terms::Terms;
use crate::upstream::Pool;

/// Commands that wait for a thread; the control task waits for each, so few are ever queued.
const COMMANDS_MAX: usize = 16;

/// How often unused connections to backends are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What a thread is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve requests that arrive from now on by this configuration.
    Swap(Arc<Serving>, oneshot::Sender<()>),
    /// Accept connections until `stop`, then let the open ones end.
    Listen {
        bind_port: u16,
        listener: TcpListener,
        stop: CancellationToken,
        /// Dropped when the socket is closed.
        socket: mpsc::Sender<()>,
    },
    /// Pass the datagrams of a UDP port on.
    ListenUdp(Datagrams),
}

/// What a thread is started with.
#[derive(Debug, Clone)]
pub(crate) struct ThreadOptions {
    pub(crate) limits: Arc<Limits>,
    pub(crate) open_connections: Arc<OpenConnections>,
    pub(crate) pressure: Pressure,
    pub(crate) access_log: Option<AccessLog>,
    /// Whether spans leave the process.
    pub(crate) traces: bool,
    /// Ends everything at once.
    pub(crate) shut_down: CancellationToken,
}

/// The state of one data thread; everything that runs on the thread shares it.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) limits: Arc<Limits>,
    pub(crate) open_connections: Arc<OpenConnections>,
    pub(crate) pressure: Pressure,
    pub(crate) pool: Rc<Pool>,
    /// Shared by the connections of layer 4.
    pub(crate) relays: Rc<Pools>,
    pub(crate) metrics: ThreadMetrics,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) traces: bool,
    pub(crate) shut_down: CancellationToken,
    serving: RefCell<Option<Rc<ThreadServing>>>,
    random: RefCell<SplitMix64>,
    work: Rc<Work>,
    mirrors: Rc<Cell<usize>>,
    date: RefCell<Date>,
    udp: Udp,
    /// Who makes way for others.
    pub(crate) lane: Lane,
}

/// A configuration as one thread uses it. What it caches ends with the last exchange that uses it.
#[derive(Debug)]
pub(crate) struct ThreadServing {
    pub(crate) serving: Arc<Serving>,
    series: RefCell<HashMap<SeriesPlace, Arc<Series>>>,
    /// By the address of the backend's name inside of the configuration.
    backends: RefCell<HashMap<usize, Arc<Series>>>,
}

/// Addresses of the listener and of the rule inside of one configuration, status, and reason.
type SeriesPlace = (usize, usize, u16, Option<&'static str>);

/// Work in progress, which a drain waits for.
#[derive(Debug, Default)]
struct Work {
    count: Cell<usize>,
    done: Notify,
}

/// One piece of work in progress: a connection, a tunnel, a copy.
#[derive(Debug)]
pub(crate) struct Open {
    work: Rc<Work>,
    mirrors: Option<Rc<Cell<usize>>>,
}

/// Starts a data thread. It ends when its commands have ended and its work is done, or at once when it is
/// told to shut down; the receiver then gets a word.
///
/// # Errors
/// When the system gives no thread or no runtime.
pub(crate) fn start(
    index: usize,
    options: ThreadOptions,
    metrics: ThreadMetrics,
) -> std::io::Result<(mpsc::Sender<Command>, oneshot::Receiver<()>)> {
    let (commands, queue) = mpsc::channel(COMMANDS_MAX);
    let (ended, end) = oneshot::channel();
    let (building, built) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name(format!("data-{index}"))
        .spawn(move || {
            // A runtime of local tasks belongs to its thread.
            let runtime = match local_runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(building.send(Err(error))),
            };
            drop(building.send(Ok(())));
            let random = SplitMix64::from_process()
                .next_u64()
                .wrapping_add(index as u64);
            let thread = Rc::new(Thread::new(options, metrics, SplitMix64::seeded(random)));
            runtime.block_on(thread.run(queue));
            // The control task may be gone already; then nobody waits.
            let _ = ended.send(());
        })?;
    built.recv().map_err(std::io::Error::other)??;
    Ok((commands, end))
}

fn local_runtime() -> std::io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
}

impl Thread {
    fn new(options: ThreadOptions, metrics: ThreadMetrics, random: SplitMix64) -> Self {
        let lane = Lane::default();
        Self {
            pool: Pool::new(options.limits.clone(), lane.clone()),
            relays: Rc::new(Pools::new(options.limits.splice_pipes_max)),
            limits: options.limits,
            open_connections: options.open_connections,
            pressure: options.pressure,
            metrics,
            access_log: options.access_log,
            traces: options.traces,
            shut_down: options.shut_down,
            serving: RefCell::new(None),
            random: RefCell::new(random),
            work: Rc::default(),
            mirrors: Rc::default(),
            date: RefCell::default(),
            udp: Udp::default(),
            lane,
        }
    }

    /// A thread that does nothing but what a fuzz target has it do.
    #[cfg(fuzzing)]
    pub(crate) fn of_site(
        options: ThreadOptions,
        metrics: ThreadMetrics,
        serving: Arc<Serving>,
    ) -> Rc<Self> {
        let thread = Self::new(options, metrics, SplitMix64::seeded(1));
        *thread.serving.borrow_mut() = Some(Rc::new(ThreadServing::new(serving)));
        Rc::new(thread)
    }

    /// The configuration for a request that arrives now.
    pub(crate) fn serving(&self) -> Rc<ThreadServing> {
        let serving = self.serving.borrow();
        serving
            .clone()
            .expect("a thread gets its configuration before its sockets")
    }

    /// On which terms a client of a port that comes now is met.
    pub(crate) fn terms(&self, bind_port: u16) -> Arc<Terms> {
        self.serving().serving.terms(bind_port).clone()
    }

    /// A client's connection ended before its time: counted, and logged.
    pub(crate) fn connection_ended(&self, bind_port: u16, client: SocketAddr, ended: Ended) {
        self.metrics.connection_ended(ended);
        tracing::debug!(bind_port, %client, reason = ended.reason(), "a connection ended early");
        if let Some(log) = self.access_log.as_ref().filter(|_| ended.is_logged()) {
            log.write_ended(bind_port, client, ended);
        }
    }

    /// The present time as the `Date` header states it.
    pub(crate) fn date(&self) -> HeaderValue {
        self.date.borrow_mut().now()
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn random_fraction(&self) -> f64 {
        self.random.borrow_mut().next_fraction()
    }

    /// Bits for a request's id: hardly ever the same twice, but no secret.
    pub(crate) fn random_bits(&self) -> u128 {
        let mut random = self.random.borrow_mut();
        u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
    }

    /// Counts a piece of work until it is dropped.
    pub(crate) fn open(&self) -> Open {
        Open::new(&self.work, None)
    }

    /// Counts a copy until it is dropped; `None` where there are too many.
    pub(crate) fn open_mirror(&self) -> Option<Open> {
        let has_room = self.mirrors.get() < self.limits.mirrors_max;
        has_room.then(|| Open::new(&self.work, Some(self.mirrors.clone())))
    }

    async fn run(self: Rc<Self>, mut commands: mpsc::Receiver<Command>) {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = self.shut_down.cancelled() => return self.udp.shut_down(&self),
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                _ = sweep.tick() => self.pool.sweep(),
            }
        }
        tokio::select! {
            () = self.shut_down.cancelled() => self.udp.shut_down(&self),
            () = self.work.finished() => {}
        }
    }

    fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Swap(serving, done) => {
                *self.serving.borrow_mut() = Some(Rc::new(ThreadServing::new(serving)));
                // A control task that was cancelled meanwhile does not wait.
                let _ = done.send(());
            }
            Command::Listen {
                bind_port,
                listener,
                stop,
                socket,
            } => {
                let accepting = accept(self.clone(), bind_port, listener, stop);
                let open = self.open();
                tokio::task::spawn_local(async move {
                    accepting.await;
                    drop((socket, open));
                });
            }
            Command::ListenUdp(datagrams) => self.udp.listen(self, datagrams),
        }
    }
}

impl ThreadServing {
    fn new(serving: Arc<Serving>) -> Self {
        Self {
            serving,
            series: RefCell::default(),
            backends: RefCell::default(),
        }
    }

    /// Counts an exchange.
    pub(crate) fn observe(&self, metrics: &ThreadMetrics, record: &Record, duration: Duration) {
        // The addresses stay taken as long as this configuration lives, and no longer than its cache.
        let listener = record
            .listener
            .as_ref()
            .map_or(0, |listener| Arc::as_ptr(listener).addr());
        let rule = record
            .rule
            .as_ref()
            .map_or(0, |rule| Arc::as_ptr(rule).addr());
        let place = (listener, rule, record.status, record.reason);
        let cached = self.series.borrow().get(&place).cloned();
        let series = cached.unwrap_or_else(|| {
            let series = metrics.series(record);
            let mut cache = self.series.borrow_mut();
            if cache.len() < SERIES_MAX {
                cache.insert(place, series.clone());
            }
            series
        });
        series.observe(duration);
        let was_tried = record.upstream.is_some() || record.retries > 0;
        if let Some(backend) = record.backend.as_ref().filter(|_| was_tried) {
            let mut backends = self.backends.borrow_mut();
            let place = backend.as_ptr().addr();
            let series = backends
                .entry(place)
                .or_insert_with(|| metrics.backend(backend));
            if let Some(took) = record.upstream {
                series.observe(took);
            }
            series.retried(record.retries);
        }
    }
}

impl Work {
    async fn finished(&self) {
        while self.count.get() > 0 {
            self.done.notified().await;
        }
    }
}

impl Open {
    fn new(work: &Rc<Work>, mirrors: Option<Rc<Cell<usize>>>) -> Self {
        work.count.set(work.count.get() + 1);
        if let Some(mirrors) = &mirrors {
            mirrors.set(mirrors.get() + 1);
        }
        Self {
            work: work.clone(),
            mirrors,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.work.count.set(self.work.count.get() - 1);
        if let Some(mirrors) = &self.mirrors {
            mirrors.set(mirrors.get() - 1);
        }
        if self.work.count.get() == 0 {
            self.work.done.notify_one();
        }
    }
}

//! `tidegate up`: configd and a worker in one process, fed from files. The services, the store, the
//! compiler, the stream and the data plane are those of production; only the connection stays inside.

mod args;
mod data_dir;
mod feed;
mod screen;
mod suggestion;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tidegate_configd::{Configd, ConfigdHandle, ConfigdOptions, Security};
use tidegate_proto::snapshots::v1::{
    DiffSnapshotsRequest, WatchSnapshotsRequest, WatchSnapshotsResponse,
};
use tidegate_proto::statuses::v1::{ListStatusesRequest, Severity as WireSeverity};
use tidegate_runtime::admin::{AdminServer, BoundAdminServer};
use tidegate_runtime::drain::Drain;
use tidegate_runtime::identity::TlsArgs;
use tidegate_runtime::memory;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tidegate_runtime::tasks::Tasks;
use tidegate_runtime::telemetry::{LogFormat, Telemetry, TelemetryOptions};
use tidegate_worker::{AccessLogTo, BindPolicy, PortPolicy, Worker, WorkerHandle, WorkerOptions};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

pub(crate) use self::args::UpArgs;
use self::data_dir::DataDir;
use self::feed::{Fed, Feed};
use self::screen::Screen;
use crate::api::{Api, failure};
use crate::commands::snapshots::change_lines;
use crate::commands::snapshots::marks::frozen;
use crate::finding::{Finding, Severity};
use crate::offline::{POOL, open_files, place_finding, settings};
use crate::schema::COMPILER_SCHEMA;
use crate::source::set::{Contents, FileSet};
use crate::source::watch::FileWatch;

/// The configuration that is served without any file.
const DEMO: &str = include_str!("up/demo.yaml");
/// Time for open requests to end after Ctrl-C.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// How many ports above the usual one are tried where that is taken.
const PORTS_TRIED: u16 = 100;
/// Time that the first snapshot may take before the user is told to wait.
const FIRST_SNAPSHOT: Duration = Duration::from_secs(3);
/// Time that a later snapshot may take to be served.
const LATER_SNAPSHOT: Duration = Duration::from_secs(3);
/// Time between two looks at the statuses while they lag behind the objects.
const STATUS_POLL: Duration = Duration::from_millis(10);

/// Serves until Ctrl-C.
pub(crate) async fn run(args: UpArgs) -> anyhow::Result<()> {
    let telemetry = Telemetry::init(&TelemetryOptions {
        service_name: "tidegate".to_owned(),
        log_format: LogFormat::default(),
        // An election of one is no news.
        default_filter: "warn,openraft=error".to_owned(),
    })?;
    let drain = Drain::new(DRAIN_DEADLINE);
    drain.listen_for_signals()?;
    memory::give_back_regularly();
    let folder = DataDir::open(args.data_dir.as_deref())?;
    let files = open_source(&args.paths)?;
    let metrics = Metrics::new("tidegate", "up", env!("CARGO_PKG_VERSION"));
    let readiness = Readiness::new();
    let admin = AdminServer::new(metrics.clone(), readiness.clone());
    let admin = bind_admin(admin.log_filter(telemetry.log_filter()), args.admin).await?;
    let admin_address = admin.local_addr();
    let end = drain.clone();
    // Outside of the drain's tasks: it answers until they have ended.
    Tasks::new().spawn(
        "admin port",
        admin.serve(async move { end.shut_down().await }),
    );

    let listen = args.listen.unwrap_or_else(|| next_free(15_010));
    let plaintext = TlsArgs {
        insecure_plaintext: args.insecure_plaintext,
        ..TlsArgs::default()
    };
    plaintext.check_plaintext(listen)?;
    let configd = Configd::start(ConfigdOptions {
        data_dir: folder.path().join("configd"),
        settings: settings(),
        listen: Some(listen),
        security: Security::Plaintext,
        seal_keys: args.seal.keys()?,
        disk_reserve: None,
        highest_level: None,
        cluster: None,
        metrics: metrics.clone(),
        readiness: readiness.clone(),
    })
    .await
    .context("cannot start the config store")?;
    let server = folder.announce(configd.address())?;
    let watch = FileWatch::start(files.roots());
    let api = Api::new(configd.channel());
    let feed = Feed::new(files, args.backends.clone(), api.clone(), drain.clone());
    let worker = worker_options(&args, &configd, &folder, &telemetry);
    let worker = Worker::start(worker, &metrics, &readiness, &drain).await?;

    let screen = Screen::new(args.any_ports);
    let session = Session {
        api,
        feed,
        worker,
        screen,
        version: 0,
        server,
    };
    let served = session.serve(watch, admin_address, &drain).await;
    eprintln!(
        "stopping   open requests get {} s to end; Ctrl-C again stops at once",
        DRAIN_DEADLINE.as_secs()
    );
    drain.start("tidegate up ends");
    drain.finish().await;
    configd.shutdown().await;
    folder.withdraw();
    served
}

fn open_source(paths: &[PathBuf]) -> anyhow::Result<FileSet> {
    if !paths.is_empty() {
        let is_there = |path: &&PathBuf| path.as_os_str() == "-" || path.exists();
        if let Some(missing) = paths.iter().find(|path| !is_there(path)) {
            bail!("{}: there is no such file or folder", missing.display());
        }
        return open_files(paths);
    }
    let mut files = FileSet::new(Vec::new(), COMPILER_SCHEMA);
    files.add_text("demo.yaml", DEMO.to_owned());
    files.refresh(&BTreeSet::new());
    Ok(files)
}

fn worker_options(
    args: &UpArgs,
    configd: &ConfigdHandle,
    folder: &DataDir,
    telemetry: &Telemetry,
) -> WorkerOptions {
    let policy = if args.any_ports {
        BindPolicy::Any
    } else {
        BindPolicy::NextFree
    };
    WorkerOptions {
        configds: configd.channel().into(),
        pool: POOL.into(),
        name: "up".into(),
        threads: args.threads,
        ports: PortPolicy {
            address: args.bind,
            policy,
            privileged_ports: args.privileged_ports,
        },
        last_good: Some(folder.path().join("last-good.snapshot")),
        access_log: match args.access_log {
            true => AccessLogTo::Stdout,
            false => AccessLogTo::Nowhere,
        },
        traces: telemetry.exports_traces(),
        limits: args.limits.limits(),
        edge: args.edge.clone().into(),
        drain_delay: Duration::ZERO,
    }
}

/// The first port from `port` on that nobody has, else `port`, whose error then says what is wrong.
fn next_free(port: u16) -> SocketAddr {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let free = (port..port + PORTS_TRIED).find(|port| TcpListener::bind(address(*port)).is_ok());
    address(free.unwrap_or(port))
}

async fn bind_admin(
    server: AdminServer,
    given: Option<SocketAddr>,
) -> anyhow::Result<BoundAdminServer> {
    let address = given.unwrap_or_else(|| next_free(15_000));
    server
        .bind(address)
        .await
        .context("cannot start the admin port; choose another with --admin")
}

/// A running `tidegate up`.
struct Session {
    api: Api,
    feed: Feed,
    worker: WorkerHandle,
    screen: Screen,
    /// The newest version that the user was told of.
    version: u64,
    server: String,
}

impl Session {
    async fn serve(
        mut self,
        mut watch: FileWatch,
        admin: SocketAddr,
        drain: &Drain,
    ) -> anyhow::Result<()> {
        let fed = tokio::select! {
            fed = self.feed.resync() => fed.context("configd did not take the objects")?,
            () = drain.started() => return Ok(()),
        };
        self.start(fed, admin).await?;
        let mut snapshots = self.watch_snapshots().await?;
        loop {
            tokio::select! {
                () = drain.started() => return Ok(()),
                touched = watch.next() => match self.feed.refresh(&touched).await {
                    Ok(None) => {}
                    Ok(Some(fed)) => self.tell(fed).await?,
                    Err(error) => self.screen.trouble(&format!("{error:#}")),
                },
                snapshot = snapshots.message() => match snapshot {
                    Ok(Some(snapshot)) => self.follow(&snapshot).await?,
                    Ok(None) | Err(_) if drain.is_started() => return Ok(()),
                    Ok(None) => snapshots = self.watch_snapshots().await?,
                    Err(status) => return Err(failure(status)),
                },
            }
        }
    }

    /// The greeting: what is missing or wrong, the URLs, what to try.
    async fn start(&mut self, fed: Fed, admin: SocketAddr) -> anyhow::Result<()> {
        self.tell(fed).await?;
        let served = timeout(FIRST_SNAPSHOT, self.worker.serves(1)).await;
        if served.is_err() {
            self.nacks().await?;
            self.screen
                .say("nothing is served yet; waiting for a Gateway that can be");
        }
        self.version = self.worker.version();
        if self.version > 0 {
            let (_, snapshot) = self.api.snapshot(POOL, 0).await?;
            self.screen
                .listeners(&self.worker.listeners(), Some(&snapshot));
            self.screen.suggestions(&snapshot, &self.server);
        }
        self.screen.say(&format!(
            "api        {}   admin http://{admin}",
            self.server
        ));
        Ok(())
    }

    async fn watch_snapshots(&mut self) -> anyhow::Result<Streaming<WatchSnapshotsResponse>> {
        let request = WatchSnapshotsRequest {
            pool: POOL.to_owned(),
        };
        Ok(self
            .api
            .snapshots
            .watch_snapshots(request)
            .await
            .map_err(failure)?
            .into_inner())
    }

    /// Says what a look at the files brought, with what the compiler says about it.
    async fn tell(&mut self, fed: Fed) -> anyhow::Result<()> {
        self.screen.notes(fed.notes);
        let mut findings = fed.contents.findings.clone();
        findings.extend(self.diagnostics(&fed.contents, fed.revision).await?);
        findings.sort();
        self.screen.findings(findings);
        for pool in frozen(&self.api, POOL).await? {
            let way_out = "changes wait until `tidegate snapshots unfreeze`";
            self.screen.say(&format!("note     {pool}; {way_out}"));
        }
        Ok(())
    }

    /// The diagnostics of the objects at a revision, or of now where configd takes too long.
    async fn diagnostics(
        &self,
        contents: &Contents,
        revision: u64,
    ) -> anyhow::Result<Vec<Finding>> {
        let compiled = async {
            loop {
                let answer = self
                    .api
                    .list_statuses(ListStatusesRequest::default())
                    .await?;
                if answer.revision >= revision {
                    return Ok::<_, anyhow::Error>(answer);
                }
                sleep(STATUS_POLL).await;
            }
        };
        let Ok(answer) = timeout(LATER_SNAPSHOT, compiled).await else {
            return Ok(Vec::new());
        };
        let finding = |d: tidegate_proto::statuses::v1::Diagnostic| {
            let severity = match d.severity() {
                WireSeverity::Error => Severity::Error,
                WireSeverity::Warning => Severity::Warning,
                WireSeverity::Info | WireSeverity::Unspecified => Severity::Info,
            };
            let key = d.key.unwrap_or_default().into();
            place_finding(contents, &key, severity, &d.code, &d.field, d.message)
        };
        Ok(answer?.diagnostics.into_iter().map(finding).collect())
    }

    /// Waits until a new snapshot is served, then says what it changed.
    async fn follow(&mut self, snapshot: &WatchSnapshotsResponse) -> anyhow::Result<()> {
        let id = snapshot
            .info
            .as_ref()
            .and_then(|info| info.id.clone())
            .unwrap_or_default();
        if id.version <= self.version {
            return Ok(());
        }
        if timeout(LATER_SNAPSHOT, self.worker.serves(id.version))
            .await
            .is_err()
        {
            return self.nacks().await;
        }
        let (_, served) = self.api.snapshot(POOL, id.version).await?;
        if self.version == 0 {
            self.screen
                .listeners(&self.worker.listeners(), Some(&served));
            self.screen.suggestions(&served, &self.server);
        } else {
            let lines = self.changes_to(id.version).await;
            self.screen.changes(id.version, &lines);
            self.screen
                .listeners(&self.worker.listeners(), Some(&served));
        }
        self.version = id.version;
        Ok(())
    }

    /// What the user sees for the way from the version that was told last; versions that configd has
    /// meanwhile dropped from its history are no reason to stop.
    async fn changes_to(&mut self, version: u64) -> Vec<String> {
        let request = DiffSnapshotsRequest {
            pool: POOL.to_owned(),
            from_version: self.version,
            to_version: version,
        };
        match self.api.snapshots.diff_snapshots(request).await {
            Ok(diff) => diff
                .into_inner()
                .changes
                .iter()
                .flat_map(change_lines)
                .collect(),
            Err(status) => vec![status.message().to_owned()],
        }
    }

    /// Says why the worker refuses a snapshot, if it does.
    async fn nacks(&mut self) -> anyhow::Result<()> {
        let nacks = self
            .api
            .list_workers()
            .await?
            .into_iter()
            .filter_map(|w| w.last_nack);
        for problem in nacks.flat_map(|nack| nack.problems) {
            let part = problem
                .part
                .map(|part| format!("{}: ", part.name))
                .unwrap_or_default();
            let kept = self.version;
            self.screen.trouble(&format!(
                "{part}{} (still serving snapshot {kept})",
                problem.message
            ));
        }
        Ok(())
    }
}

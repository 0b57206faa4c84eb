//! The leader is killed: writes go on within two election timeouts. Every configd is dead: the worker serves all the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::chance::Chance;
use crate::client::Client;
use crate::cluster::{Cluster, Fault};
use crate::objects;
use crate::properties::Setting;

const NODES: u8 = 3;
/// The host of the worker.
const WORKER: u8 = NODES;
const PORT: u16 = 8_080;
/// Two election timeouts at their longest, 2 s each, and 1 s for the requests themselves.
const GAP_MAX: Duration = Duration::from_secs(5);
/// Time for the worker to serve.
const SERVE: Duration = Duration::from_secs(60);
/// Time between two requests to the worker.
const PAUSE: Duration = Duration::from_millis(10);

/// Kill the leader, then all of them, while writes and requests go on.
#[derive(Debug, Clone, Args)]
pub struct ElectionArgs {
    /// Leaders that are killed
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Seconds without any configd
    #[arg(long, default_value_t = 5)]
    dead_s: u64,
}

/// Runs the rounds.
///
/// # Errors
/// Where writes stay away for too long, or a request to the worker fails.
pub async fn run(setting: &Setting, args: &ElectionArgs) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let cluster = Cluster::start(&setting.tidegate, work.path(), NODES, 1).await?;
    let outcome = run_in(cluster, setting, args).await;
    setting.concluded(outcome, work)
}

async fn run_in(
    mut cluster: Cluster,
    setting: &Setting,
    args: &ElectionArgs,
) -> anyhow::Result<String> {
    let client = Client::new(cluster.address(0));
    let mut objects = objects::gateway(PORT);
    objects.push(objects::route("home", "/home"));
    let puts = objects.iter().map(|object| objects::put(object, None));
    client.apply(puts.collect()).await?;
    let _worker = cluster.worker_on(WORKER)?;
    let load = Load::start(cluster.network.at(WORKER, PORT)).await?;
    let mut chance = Chance::new(setting.seed);
    let mut longest = Duration::ZERO;
    for round in 0..args.rounds {
        sleep(Duration::from_millis(chance.below(1_000))).await;
        let leader = cluster.leader().await?;
        cluster.strike(leader, Fault::Kill)?;
        let gap = gap(&cluster, leader, round).await?;
        ensure!(
            gap <= GAP_MAX,
            "writes stayed away for {} ms",
            gap.as_millis()
        );
        longest = longest.max(gap);
        cluster.recover().await?;
    }
    for node in 0..NODES {
        cluster.strike(node, Fault::Kill)?;
    }
    let dead = load.answered();
    sleep(Duration::from_secs(args.dead_s)).await;
    let dead = load.answered() - dead;
    ensure!(dead > 0, "the worker answered nothing without a configd");
    cluster.recover().await?;
    let answered = load.end().await?;
    Ok(format!(
        "{} leaders killed: writes went on after {} ms at most; {answered} requests answered, {dead} of them without any configd",
        args.rounds,
        longest.as_millis()
    ))
}

/// Time from now until a write is acknowledged, by whichever of the others.
async fn gap(cluster: &Cluster, dead: u8, round: u64) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut writers = JoinSet::new();
    for node in (0..NODES).filter(|node| *node != dead) {
        let client = Client::patient(cluster.address(node), Duration::from_secs(1));
        let object = objects::map(&format!("round-{round}"), &node.to_string());
        writers.spawn(async move {
            while client
                .apply(vec![objects::put(&object, None)])
                .await
                .is_err()
            {
                sleep(PAUSE).await;
            }
        });
    }
    let first = timeout(GAP_MAX * 6, writers.join_next()).await;
    ensure!(first.is_ok(), "no write for {} s", (GAP_MAX * 6).as_secs());
    Ok(start.elapsed())
}

/// Requests to the worker, one after the other, each on a connection of its own.
struct Load {
    answered: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    running: JoinSet<anyhow::Result<()>>,
}

impl Load {
    /// Waits for the first answer.
    async fn start(worker: SocketAddr) -> anyhow::Result<Self> {
        let served = async {
            while request(worker).await.is_err() {
                sleep(PAUSE).await;
            }
        };
        ensure!(
            timeout(SERVE, served).await.is_ok(),
            "the worker does not serve"
        );
        let (answered, ends) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, until) = (answered.clone(), ends.clone());
        let asking = async move {
            while !until.load(Ordering::Relaxed) {
                request(worker).await?;
                count.fetch_add(1, Ordering::Relaxed);
                sleep(PAUSE).await;
            }
            Ok(())
        };
        let mut running = JoinSet::new();
        running.spawn(asking);
        Ok(Self {
            answered,
            ends,
            running,
        })
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How many were answered.
    ///
    /// # Errors
    /// With the first that was not.
    async fn end(mut self) -> anyhow::Result<u64> {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.running.join_next().await {
            ended??;
        }
        Ok(self.answered.load(Ordering::Relaxed))
    }
}

async fn request(worker: SocketAddr) -> anyhow::Result<()> {
    let asking = async {
        let mut stream = TcpStream::connect(worker).await?;
        let text = "GET /home HTTP/1.1\r\nHost: chaos.test\r\nConnection: close\r\n\r\n";
        stream.write_all(text.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let line = String::from_utf8_lossy(&answer);
        ensure!(
            line.starts_with("HTTP/1.1 302 "),
            "the worker answers {line}"
        );
        Ok(())
    };
    timeout(Duration::from_secs(5), asking).await?
}

//! Node after node gets another release, while writes go on: nothing that was acknowledged is lost, and workers follow.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use tidegate_proto::objects::v1::WaitFor;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::client::Client;
use crate::cluster::{Cluster, Fault};
use crate::ledger::Ledger;
use crate::objects;
use crate::properties::Setting;

const NODES: u8 = 3;
/// The host of the worker.
const WORKER: u8 = NODES;
const PORT: u16 = 8_080;
const WRITERS: u64 = 4;
/// Time for a worker to have what was written.
const CONVERGE: Duration = Duration::from_secs(30);
/// Time for an answer to a writer, before it asks another node.
const ANSWER: Duration = Duration::from_secs(3);
/// Time between two writes.
const PAUSE: Duration = Duration::from_millis(5);

/// Give node after node another release while writes go on and a worker follows.
#[derive(Debug, Clone, Args)]
pub struct UpgradeArgs {
    /// The tidegate binary of the release before
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
}

/// Runs the upgrade.
///
/// # Errors
/// Where something that was acknowledged is lost, or the worker does not follow.
pub async fn run(setting: &Setting, args: &UpgradeArgs) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let cluster = Cluster::start(&args.from, work.path(), NODES, 1).await?;
    let outcome = upgrade(cluster, setting).await;
    setting.concluded(outcome, work)
}

async fn upgrade(mut cluster: Cluster, setting: &Setting) -> anyhow::Result<String> {
    let gateway = objects::gateway(PORT);
    let puts = gateway.iter().map(|object| objects::put(object, None));
    Client::new(cluster.address(0))
        .apply(puts.collect())
        .await?;
    // Of the release before, as long as it lives.
    let _worker = cluster.worker_on(WORKER)?;
    converges(&cluster, "before").await?;
    let mut chance = Chance::new(setting.seed);
    let writing = Writing::start(&cluster);
    let mut waiting: Vec<u8> = (0..NODES).collect();
    while !waiting.is_empty() {
        let next = usize::try_from(chance.below(waiting.len() as u64))?;
        let node = waiting.swap_remove(next);
        sleep(Duration::from_millis(chance.below(1_000))).await;
        cluster.replace(node, &setting.tidegate).await?;
        cluster.recover().await?;
        converges(&cluster, &format!("node-{node}")).await?;
    }
    let mut ledger = writing.end().await?;
    holds(&cluster, &mut ledger).await?;
    // What the release before has written, the new one reads from the disk.
    for node in 0..NODES {
        cluster.strike(node, Fault::Kill)?;
    }
    cluster.recover().await?;
    holds(&cluster, &mut ledger).await?;
    let (acknowledged, unanswered) = ledger.counts();
    Ok(format!(
        "{NODES} nodes upgraded: {acknowledged} acknowledged writes are there, {unanswered} got no answer; \
         a worker of the release before had every change"
    ))
}

/// Writes a route, and waits until the worker serves it.
async fn converges(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let put = objects::put(&objects::route(name, &format!("/{name}")), None);
    for node in 0..NODES {
        let client = Client::patient(cluster.address(node), CONVERGE);
        let served = client.apply_and_wait(vec![put.clone()], WaitFor::Converged);
        served
            .await
            .with_context(|| format!("{name}, by node {node}: the worker does not follow"))?;
    }
    Ok(())
}

/// Every node has what was acknowledged.
async fn holds(cluster: &Cluster, ledger: &mut Ledger) -> anyhow::Result<()> {
    for node in 0..NODES {
        let mut found = Client::new(cluster.address(node)).list("ConfigMap").await?;
        found.retain(|name, _| name.starts_with("ConfigMap/w"));
        let wrong = ledger.settle(&found);
        ensure!(wrong.is_empty(), "node {node}: {}", wrong.join("\n"));
    }
    Ok(())
}

/// Writers, each with one write at a time.
struct Writing {
    ledger: Arc<Mutex<Ledger>>,
    ends: Arc<AtomicBool>,
    writers: JoinSet<()>,
}

impl Writing {
    fn start(cluster: &Cluster) -> Self {
        let (ledger, ends) = (
            Arc::<Mutex<Ledger>>::default(),
            Arc::<AtomicBool>::default(),
        );
        let clients = (0..NODES).map(|node| Client::patient(cluster.address(node), ANSWER));
        let clients: Vec<_> = clients.collect();
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(ledger.clone(), ends.clone(), clients.clone(), writer));
        }
        Self {
            ledger,
            ends,
            writers,
        }
    }

    /// What was written.
    async fn end(mut self) -> anyhow::Result<Ledger> {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended?;
        }
        Ok(self
            .ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone())
    }
}

/// Writes to one node until it does not answer, then under another name to the next one.
async fn write(
    ledger: Arc<Mutex<Ledger>>,
    ends: Arc<AtomicBool>,
    clients: Vec<Client>,
    writer: u64,
) {
    let note = || ledger.lock().unwrap_or_else(PoisonError::into_inner);
    for (turn, client) in clients.iter().cycle().enumerate() {
        let (name, mut number) = (format!("w{writer}-{turn}"), 0_u64);
        loop {
            if ends.load(Ordering::Relaxed) {
                return;
            }
            let object = objects::map(&name, &number.to_string());
            let known = format!("ConfigMap/{name}");
            note().try_to(&known, Some(&object.to_string()));
            if client
                .apply(vec![objects::put(&object, None)])
                .await
                .is_err()
            {
                break;
            }
            note().acknowledge(&known);
            number += 1;
            sleep(PAUSE).await;
        }
        sleep(PAUSE).await;
    }
}

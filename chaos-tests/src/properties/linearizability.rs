//! Apply, compare-and-set, Get and List behave as if one node did one after the other, whatever happens to the nodes.

mod plant;
mod recorder;

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::plant::Plant;
use self::recorder::Recorder;
use crate::chance::Chance;
use crate::cluster::{Cluster, FAULTS, FAULTS_ALONE};
use crate::linearizable::{self, Answer, Call, Verdict};
use crate::properties::Setting;

/// Clients of a history.
const CLIENTS: usize = 4;
/// Registers of a history.
const REGISTERS: usize = 3;

/// Record what clients ask and are told while nodes are killed, paused and cut off, and look for an order that explains it.
#[derive(Debug, Clone, Args)]
pub struct LinearizabilityArgs {
    /// Number of histories
    #[arg(long, default_value_t = 100)]
    histories: u64,
    /// Number of the first one; with `--histories 1` the same faults are had again
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Nodes of the cluster: 1, 3 or 5
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// Length of a history
    #[arg(long, default_value_t = 1_200)]
    millis: u64,
    /// Break the property between the clients and configd; the run passes where that is found
    #[arg(long, value_name = "FAULT")]
    plant: Option<Plant>,
}

/// Counts over all histories.
#[derive(Debug, Default)]
struct Counts {
    histories: u64,
    calls: usize,
    unanswered: usize,
}

/// What was recorded while some faults lasted.
struct Recorded {
    calls: Vec<Call>,
    faults: String,
}

/// Records the histories one after the other, each with registers of its own, and judges them.
///
/// # Errors
/// Where one is not linearizable or cannot be judged, where the nodes do not come back, or where what was planted is not
/// found.
pub async fn run(setting: &Setting, args: &LinearizabilityArgs) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&setting.tidegate, work.path(), args.nodes, 0).await?;
    let mut counts = Counts::default();
    let outcome = run_in(&mut cluster, setting.seed, args, &mut counts).await;
    drop(cluster);
    let (number, what) = match (outcome?, args.plant) {
        (None, None) => {
            println!("{}", counts.text(args.nodes));
            return Ok(());
        }
        (Some((_, found)), Some(plant)) => {
            println!("{plant:?} was found: {found}");
            return Ok(());
        }
        (None, Some(plant)) => {
            anyhow::bail!("{plant:?} was not found in {}", counts.text(args.nodes))
        }
        (Some(found), None) => found,
    };
    let replay = format!(
        "chaos-tests/run linearizability --seed {} --nodes {} --millis {} --first {number} --histories 1",
        setting.seed, args.nodes, args.millis
    );
    let setting = Setting {
        replay,
        ..setting.clone()
    };
    setting.violated(&format!("{what}\nfiles: {}", work.keep().display()))
}

/// Returns the first violation and the number of its history, if there is one.
async fn run_in(
    cluster: &mut Cluster,
    seed: u64,
    args: &LinearizabilityArgs,
    counts: &mut Counts,
) -> anyhow::Result<Option<(u64, String)>> {
    for number in args.first..args.first + args.histories {
        let begin = Instant::now();
        let mut chance = Chance::new(seed ^ (number << 32));
        let recorded = record(cluster, args, number, &mut chance).await?;
        let verdict = linearizable::check(&recorded.calls, REGISTERS);
        counts.add(&recorded.calls);
        let text = recorded.text(number);
        if verdict != Verdict::Linearizable {
            std::fs::write(cluster.file("history"), format!("{:#?}", recorded.calls))?;
            return Ok(Some((number, format!("{text}: {verdict:?}"))));
        }
        if let Err(error) = cluster.recover().await {
            let what = format!("{text}: the nodes do not come back: {error:#}");
            return Ok(Some((number, what)));
        }
        println!("{text}; {} ms", begin.elapsed().as_millis());
    }
    Ok(None)
}

/// One history, and what was done meanwhile.
async fn record(
    cluster: &mut Cluster,
    args: &LinearizabilityArgs,
    number: u64,
    chance: &mut Chance,
) -> anyhow::Result<Recorded> {
    // One of four lasts long enough for an election and for writes after that.
    let millis = args.millis * if chance.once_in(4) { 3 } else { 1 };
    let start = Instant::now();
    let end = start + Duration::from_millis(millis);
    let nodes: Vec<_> = (0..args.nodes).map(|node| cluster.address(node)).collect();
    let name = format!("h{number}");
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let recorder = Recorder::new((client, &nodes), &name, start, args.plant);
        clients.spawn(recorder.run(chance.fork(), end));
    }
    let faults = strike(cluster, chance, millis).await?;
    let calls = clients.join_all().await.concat();
    Ok(Recorded { calls, faults })
}

/// One fault or two at a time, undone before the history ends or, one time in four, only after it.
async fn strike(cluster: &mut Cluster, chance: &mut Chance, millis: u64) -> anyhow::Result<String> {
    let kinds = if cluster.size() == 1 {
        &FAULTS_ALONE[..]
    } else {
        &FAULTS[..]
    };
    let mut faults = Vec::new();
    for _ in 0..=u64::from(chance.once_in(3)) {
        sleep(Duration::from_millis(50 + chance.below(millis / 4))).await;
        let node = cluster.pick(chance).await;
        let fault = *chance.pick(kinds).context("there are faults")?;
        cluster.strike(node, fault)?;
        faults.push(format!("{fault:?} of node {node}"));
    }
    if !chance.once_in(4) {
        sleep(Duration::from_millis(millis / 8 + chance.below(millis / 2))).await;
        cluster.undo()?;
    }
    Ok(faults.join(", "))
}

impl Recorded {
    fn text(&self, number: u64) -> String {
        let (calls, unanswered) = (self.calls.len(), unanswered(&self.calls));
        format!(
            "history {number}: {calls} calls, {unanswered} without an answer; {}",
            self.faults
        )
    }
}

impl Counts {
    fn add(&mut self, calls: &[Call]) {
        self.histories += 1;
        self.calls += calls.len();
        self.unanswered += unanswered(calls);
    }

    fn text(&self, nodes: u8) -> String {
        let Self {
            histories,
            calls,
            unanswered,
        } = self;
        format!(
            "{histories} histories of {nodes} nodes: {calls} calls, {unanswered} without an answer; each is linearizable"
        )
    }
}

fn unanswered(calls: &[Call]) -> usize {
    calls
        .iter()
        .filter(|call| call.answer == Answer::Nothing)
        .count()
}

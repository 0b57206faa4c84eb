//! Apply, compare-and-set, Get and List behave as if one node did one after the other, whatever happens to the nodes.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value as Json;
use tidegate_proto::objects::v1::{Precondition, precondition};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::chance::Chance;
use crate::client::Client;
use crate::cluster::{Cluster, FAULTS, FAULTS_ALONE};
use crate::linearizable::{self, Action, Answer, Call, Value, Verdict};
use crate::objects;
use crate::properties::Setting;

/// Clients of a history.
const CLIENTS: u8 = 4;
/// Registers of a history.
const REGISTERS: u64 = 3;
/// Time that a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Record what clients ask and are told while nodes are killed, paused and cut off, and look for an order that explains it.
#[derive(Debug, Clone, Args)]
pub struct LinearizabilityArgs {
    /// Number of histories
    #[arg(long, default_value_t = 100)]
    histories: u64,
    /// Nodes of the cluster: 1, 3 or 5
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// Length of a history
    #[arg(long, default_value_t = 2_500)]
    millis: u64,
}

/// Counts over all histories.
#[derive(Debug, Default)]
struct Counts {
    calls: usize,
    unanswered: usize,
    undecided: usize,
}

/// Records the histories one after the other, each with registers of its own, and judges them.
///
/// # Errors
/// Where one is not linearizable, or the nodes do not come back.
pub async fn run(setting: &Setting, args: &LinearizabilityArgs) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&setting.tidegate, work.path(), args.nodes, 0).await?;
    let mut counts = Counts::default();
    for number in 0..args.histories {
        let mut chance = Chance::new(setting.seed ^ (number << 32));
        let (history, faults) = record(&mut cluster, args, number, &mut chance).await?;
        counts.calls += history.len();
        let unanswered = history.iter().filter(|call| call.answer == Answer::Nothing);
        counts.unanswered += unanswered.count();
        match linearizable::check(&history, usize::try_from(REGISTERS)?) {
            Verdict::Linearizable => {}
            Verdict::Undecided => counts.undecided += 1,
            Verdict::Violated => {
                let file = work.path().join("history");
                std::fs::write(&file, format!("{history:#?}"))?;
                drop(cluster);
                let kept = work.keep();
                return setting.violated(&format!(
                    "history {number} ({faults}) is not linearizable\nfiles: {}",
                    kept.display()
                ));
            }
        }
        if let Err(error) = cluster.recover().await {
            drop(cluster);
            let kept = work.keep().display().to_string();
            return setting.violated(&format!("after {faults}: {error:#}\nfiles: {kept}"));
        }
    }
    let Counts {
        calls,
        unanswered,
        undecided,
    } = counts;
    println!(
        "{} histories of {} nodes: {calls} calls, {unanswered} without an answer; {undecided} undecided, none violated",
        args.histories, args.nodes
    );
    Ok(())
}

/// One history, and what was done meanwhile.
async fn record(
    cluster: &mut Cluster,
    args: &LinearizabilityArgs,
    number: u64,
    chance: &mut Chance,
) -> anyhow::Result<(Vec<Call>, String)> {
    let start = Instant::now();
    let end = start + Duration::from_millis(args.millis);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let recorder = Recorder {
            client: Client::patient(cluster.address(client % args.nodes), PATIENCE),
            history: number,
            number: client.into(),
            start,
            seen: vec![(None, None); usize::try_from(REGISTERS)?],
        };
        clients.spawn(recorder.run(chance.fork(), end));
    }
    let mut faults = Vec::new();
    let kinds = if args.nodes == 1 {
        &FAULTS_ALONE[..]
    } else {
        &FAULTS[..]
    };
    while Instant::now() < end {
        sleep(Duration::from_millis(100 + chance.below(args.millis / 3))).await;
        let node = cluster.pick(chance).await?;
        let fault = *chance.pick(kinds).context("there are faults")?;
        cluster.strike(node, fault)?;
        faults.push(format!("{fault:?} of node {node}"));
        sleep(Duration::from_millis(chance.below(args.millis / 2))).await;
        cluster.undo()?;
    }
    let history = clients.join_all().await.concat();
    Ok((history, faults.join(", ")))
}

/// A client that notes what it asks and is told.
struct Recorder {
    client: Client,
    history: u64,
    number: u64,
    start: Instant,
    /// What it has seen last in each register, with its revision.
    seen: Vec<(Value, Option<u64>)>,
}

impl Recorder {
    async fn run(mut self, mut chance: Chance, end: Instant) -> Vec<Call> {
        let mut calls = Vec::new();
        while Instant::now() < end {
            let action = self.choose(&mut chance, calls.len() as u64);
            let start = self.now();
            let answer = self.ask(&action).await;
            let end = match answer {
                Answer::Nothing => u64::MAX,
                _ => self.now(),
            };
            calls.push(Call {
                start,
                end,
                action,
                answer,
            });
            sleep(Duration::from_millis(chance.below(30))).await;
        }
        calls
    }

    fn choose(&self, chance: &mut Chance, count: u64) -> Action {
        let register = usize::try_from(chance.below(REGISTERS)).unwrap_or_default();
        let value = (self.number + 1) * 1_000_000 + count;
        match chance.below(10) {
            0..3 => Action::Put { register, value },
            3..6 => Action::CompareAndSet {
                register,
                from: self.seen[register].0,
                to: value,
            },
            6..9 => Action::Get { register },
            _ => Action::List,
        }
    }

    async fn ask(&mut self, action: &Action) -> Answer {
        match action {
            Action::Put { register, value } => self.write(*register, *value, None).await,
            Action::CompareAndSet { register, to, .. } => {
                let condition = match self.seen[*register].1 {
                    Some(revision) => precondition::Condition::Revision(revision),
                    None => precondition::Condition::Absent(true),
                };
                let condition = Precondition {
                    condition: Some(condition),
                };
                self.write(*register, *to, Some(condition)).await
            }
            Action::Get { register } => self.get(*register).await,
            Action::List => self.list().await,
        }
    }

    async fn write(
        &mut self,
        register: usize,
        value: u64,
        condition: Option<Precondition>,
    ) -> Answer {
        let is_conditional = condition.is_some();
        let put = objects::put(&self.object(register, value), condition);
        match self.client.apply(vec![put]).await {
            Ok(revision) => {
                self.seen[register] = (Some(value), Some(revision));
                Answer::Stored
            }
            Err(status) if is_conditional && is_refusal(&status) => Answer::Refused,
            Err(_) => Answer::Nothing,
        }
    }

    async fn get(&mut self, register: usize) -> Answer {
        let key = objects::key(&self.object(register, 0));
        match self.client.get(key).await {
            Ok(found) => {
                let revision = found.as_ref().map(|(revision, _)| *revision);
                let value = found.and_then(|(_, content)| value_of(&content));
                self.seen[register] = (value, revision);
                Answer::Found(value)
            }
            Err(_) => Answer::Nothing,
        }
    }

    async fn list(&self) -> Answer {
        match self.client.list("ConfigMap").await {
            Ok(found) => {
                let value = |register| {
                    let name = self.name(register);
                    value_of(found.get(&format!("ConfigMap/{name}"))?)
                };
                let registers = 0..self.seen.len();
                Answer::Listed(registers.map(value).collect())
            }
            Err(_) => Answer::Nothing,
        }
    }

    fn object(&self, register: usize, value: u64) -> Json {
        objects::map(&self.name(register), &value.to_string())
    }

    fn name(&self, register: usize) -> String {
        format!("h{}-r{register}", self.history)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX - 1)
    }
}

/// Whether an object was not as the write required; then nothing was written.
fn is_refusal(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition
}

fn value_of(content: &str) -> Value {
    let object: Json = serde_json::from_str(content).ok()?;
    object.pointer("/data/value")?.as_str()?.parse().ok()
}

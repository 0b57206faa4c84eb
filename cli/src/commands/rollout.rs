//! `tidegate rollout`: a new snapshot goes to some workers first.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_proto::rollouts::v1::{
    AbortRolloutRequest, Gates, ListRolloutsRequest, PauseRolloutRequest, PoolRollout,
    PromoteRolloutRequest, ResumeRolloutRequest, RolloutStep, SetRolloutPolicyRequest,
    StartRolloutRequest,
};
use tidegate_proto::snapshots::v1::SnapshotInfo;

use super::get::short_duration;
use super::output::{Output, info_json, json_text, time};
use super::pool::PoolArgs;
use super::snapshots::marks::WhyArgs;
use super::write_out;
use crate::api::{ServerArgs, failure};
use crate::table::Table;

const START_EXAMPLES: &str = "\
Examples:
  tidegate rollout start --steps 10,50 --bake 60   the next snapshot: 10 % of the workers, 50 %, then all
  tidegate rollout start --steps 1w,10,50          one worker first
  tidegate snapshots freeze                        first, to change several objects before
";

/// What to do about rollouts.
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Send the next snapshot in steps; a frozen pool is unfrozen that way
    #[command(before_help = START_EXAMPLES)]
    Start(StartArgs),
    /// Send every snapshot in steps, or without steps to all workers at once
    Policy(PolicyArgs),
    /// Show how snapshots reach the workers, and which rollouts are under way
    Status(StatusArgs),
    /// Go to the next step at once
    Promote(MoveArgs),
    /// Stay at the present step
    Pause(MoveArgs),
    /// Go on
    Resume(MoveArgs),
    /// Go back: all workers get what was served before, and the pool is frozen
    Abort(AbortArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Percentages of the workers, or numbers of workers as "1w", growing
    #[arg(long, required = true, value_delimiter = ',', value_name = "PERCENT|COUNTw,…", value_parser = size)]
    steps: Vec<Size>,
    /// Seconds that all workers of a step must serve the snapshot before the next one
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    bake: u32,
    #[command(flatten)]
    gates: GateArgs,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    at: PoolArgs,
}

/// What stops it.
#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// Abort where so many percent more of the requests are answered with 5xx at the workers of the step than at the
    /// others, from 100 requests on; not looked at without it
    #[arg(long, value_name = "PERCENT", value_parser = permille)]
    max_5xx_delta: Option<Permille>,
    /// Workers of a step that may refuse the snapshot
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    max_nacks: u32,
    /// Percentage of a step's workers that must serve the snapshot
    #[arg(long, default_value_t = 100, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    min_ready: u32,
}

/// How many workers a step has.
#[derive(Debug, Clone, Copy)]
enum Size {
    Percent(u32),
    Workers(u32),
}

/// Reads "10", which is percent, or "2w", which is workers.
fn size(text: &str) -> Result<Size, String> {
    let wrong =
        |_| format!("{text} is neither a percentage such as 10 nor a number of workers such as 2w");
    match text.strip_suffix('w') {
        Some(workers) => workers.parse().map(Size::Workers).map_err(wrong),
        None => text.parse().map(Size::Percent).map_err(wrong),
    }
}

/// Thousandths.
#[derive(Debug, Clone, Copy)]
struct Permille(u32);

/// Reads percent: "0.5" is 5 thousandths.
fn permille(text: &str) -> Result<Permille, String> {
    let wrong =
        || format!("{text} is no percentage of 0 to 100 with at most one digit behind the point");
    let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let tenth: u32 = match tenth.len() {
        1 => tenth.parse().map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    let permille = whole
        .checked_mul(10)
        .and_then(|whole| whole.checked_add(tenth));
    let permille = permille.filter(|permille| *permille <= 1_000);
    permille.map(Permille).ok_or_else(wrong)
}

impl GateArgs {
    fn gates(&self) -> Gates {
        Gates {
            max_5xx_delta_permille: self.max_5xx_delta.map(|Permille(share)| share),
            max_nacks: self.max_nacks,
            min_ready_percent: (self.min_ready != 100).then_some(self.min_ready),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// Percentages of the workers, or numbers of workers as "1w", growing; without it all workers get snapshots at once
    #[arg(long, value_delimiter = ',', value_name = "PERCENT|COUNTw,…", value_parser = size)]
    steps: Vec<Size>,
    /// Seconds that all workers of a step must serve the snapshot before the next one
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    bake: u32,
    #[command(flatten)]
    gates: GateArgs,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    at: PoolArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// The snapshot that began it; whichever is under way without it, exit code 4 if it is another
    #[arg(default_value_t = 0, hide_default_value = true)]
    snapshot: u64,
    #[command(flatten)]
    at: PoolArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AbortArgs {
    /// The snapshot that began it; whichever is under way without it, exit code 4 if it is another
    #[arg(default_value_t = 0, hide_default_value = true)]
    snapshot: u64,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    at: PoolArgs,
}

/// Does it.
pub(crate) async fn run(command: RolloutCommand) -> anyhow::Result<()> {
    let text = match command {
        RolloutCommand::Start(args) => start(args).await?,
        RolloutCommand::Policy(args) => policy(args).await?,
        RolloutCommand::Status(args) => status(args).await?,
        RolloutCommand::Promote(args) => promote(args).await?,
        RolloutCommand::Pause(args) => pause(args).await?,
        RolloutCommand::Resume(args) => resume(args).await?,
        RolloutCommand::Abort(args) => abort(args).await?,
    };
    Ok(write_out(&text)?)
}

/// A step keeps what the one before had of the other kind: 2 workers, then at least these and 10 %.
fn steps(sizes: &[Size], bake_s: u32, gates: &GateArgs) -> Vec<RolloutStep> {
    let (mut percent, mut workers) = (0, 0);
    let step = |size: &Size| {
        match *size {
            Size::Percent(share) => percent = share,
            Size::Workers(count) => workers = count,
        }
        RolloutStep {
            percent,
            workers,
            bake_ms: u64::from(bake_s) * 1_000,
            gates: Some(gates.gates()),
        }
    };
    sizes.iter().map(step).collect()
}

async fn start(args: StartArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let request = StartRolloutRequest {
        pool: args.at.pool,
        steps: steps(&args.steps, args.bake, &args.gates),
        reason: args.why.reason,
        requested_by: args.why.by,
    };
    let answer = api.rollouts.start_rollout(request).await.map_err(failure)?;
    Ok(pool_text(answer.into_inner().pool, args.at.output))
}

async fn policy(args: PolicyArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let request = SetRolloutPolicyRequest {
        pool: args.at.pool,
        steps: steps(&args.steps, args.bake, &args.gates),
        reason: args.why.reason,
        requested_by: args.why.by,
    };
    let answer = api.rollouts.set_rollout_policy(request).await;
    let pool = answer.map_err(failure)?.into_inner().pool;
    Ok(pool_text(pool, args.at.output))
}

async fn status(args: StatusArgs) -> anyhow::Result<String> {
    let mut api = args.server.connect().await?;
    let answer = api.rollouts.list_rollouts(ListRolloutsRequest {}).await;
    let pools = answer.map_err(failure)?.into_inner().pools;
    Ok(match args.output {
        Output::Table => table(&pools),
        Output::Json => {
            let pools: Vec<_> = pools.iter().map(pool_json).collect();
            json_text(json!({"pools": pools}))
        }
    })
}

async fn promote(args: MoveArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let (pool, id) = (args.at.pool, args.snapshot);
    let request = PromoteRolloutRequest { pool, id };
    let answer = api.rollouts.promote_rollout(request).await;
    let pool = answer.map_err(failure)?.into_inner().pool;
    Ok(pool_text(pool, args.at.output))
}

async fn pause(args: MoveArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let (pool, id) = (args.at.pool, args.snapshot);
    let request = PauseRolloutRequest { pool, id };
    let answer = api.rollouts.pause_rollout(request).await.map_err(failure)?;
    Ok(pool_text(answer.into_inner().pool, args.at.output))
}

async fn resume(args: MoveArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let (pool, id) = (args.at.pool, args.snapshot);
    let request = ResumeRolloutRequest { pool, id };
    let answer = api.rollouts.resume_rollout(request).await;
    let pool = answer.map_err(failure)?.into_inner().pool;
    Ok(pool_text(pool, args.at.output))
}

async fn abort(args: AbortArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let request = AbortRolloutRequest {
        pool: args.at.pool,
        id: args.snapshot,
        reason: args.why.reason,
        requested_by: args.why.by,
    };
    let answer = api.rollouts.abort_rollout(request).await.map_err(failure)?;
    let info = answer.into_inner().snapshot.unwrap_or_default();
    if args.at.output == Output::Json {
        return Ok(json_text(json!({"snapshot": info_json(&info)})));
    }
    eprintln!(
        "note: the pool is frozen: changes of objects wait until `tidegate snapshots unfreeze`"
    );
    let (version, restored) = (version_of(Some(&info)), info.restores);
    Ok(format!("snapshot {version}, the content of {restored}\n"))
}

fn version_of(info: Option<&SnapshotInfo>) -> u64 {
    let id = info.and_then(|info| info.id.as_ref());
    id.map_or(0, |id| id.version)
}

fn pool_text(pool: Option<PoolRollout>, output: Output) -> String {
    let pool = pool.unwrap_or_default();
    match output {
        Output::Table => table(&[pool]),
        Output::Json => json_text(json!({"pool": pool_json(&pool)})),
    }
}

fn table(pools: &[PoolRollout]) -> String {
    let mut table = Table::new(&[
        "POOL", "VERSIONS", "NEXT", "ROLLOUT", "STEP", "READY", "AGE", "REASON",
    ]);
    for pool in pools {
        let policy = match steps_text(&pool.policy) {
            text if text.is_empty() => "all at once".to_owned(),
            text => text,
        };
        let [rollout, step, ready, age, reason] = under_way(pool);
        let name = pool.pool.clone();
        let next = steps_text(&pool.next);
        table.row([name, policy, next, rollout, step, ready, age, reason]);
    }
    table.render()
}

fn under_way(pool: &PoolRollout) -> [String; 5] {
    let Some(rollout) = &pool.rollout else {
        return Default::default();
    };
    let size = rollout.steps.get(rollout.step as usize);
    let size = size.map_or_else(|| "100%".to_owned(), size_text);
    let (step, steps) = (rollout.step + 1, rollout.steps.len());
    let paused = if rollout.paused { ", paused" } else { "" };
    let now = jiff::Timestamp::now().as_millisecond();
    let age = now.saturating_sub(rollout.since_unix_ms).max(0) / 1_000;
    [
        rollout.id.to_string(),
        format!("{step} of {steps}: {size}{paused}"),
        format!("{}/{}", rollout.ready, rollout.chosen),
        short_duration(age),
        rollout.reason.clone(),
    ]
}

/// "10%,50%".
fn steps_text(steps: &[RolloutStep]) -> String {
    let steps: Vec<String> = steps.iter().map(size_text).collect();
    steps.join(",")
}

/// "10%", "2w" or "10%+2w".
fn size_text(step: &RolloutStep) -> String {
    match (step.percent, step.workers) {
        (percent, 0) => format!("{percent}%"),
        (0, workers) => format!("{workers}w"),
        (percent, workers) => format!("{percent}%+{workers}w"),
    }
}

fn steps_json(steps: &[RolloutStep]) -> Value {
    let step = |step: &RolloutStep| {
        let gates = step.gates.unwrap_or_default();
        json!({
            "percent": step.percent,
            "workers": step.workers,
            "bakeMs": step.bake_ms,
            "max5xxDeltaPercent": gates.max_5xx_delta_permille.map(|share| f64::from(share) / 10.0),
            "maxNacks": gates.max_nacks,
            "minReadyPercent": gates.min_ready_percent.unwrap_or(100),
        })
    };
    steps.iter().map(step).collect()
}

fn pool_json(pool: &PoolRollout) -> Value {
    let rollout = pool.rollout.as_ref().map(|rollout| {
        json!({
            "id": rollout.id,
            "canary": version_of(rollout.canary.as_ref()),
            "stable": version_of(rollout.stable.as_ref()),
            "steps": steps_json(&rollout.steps),
            "step": rollout.step,
            "since": time(rollout.since_unix_ms),
            "paused": rollout.paused,
            "by": rollout.by,
            "reason": rollout.reason,
            "chosen": rollout.chosen,
            "ready": rollout.ready,
        })
    });
    json!({
        "pool": pool.pool,
        "policy": steps_json(&pool.policy),
        "next": steps_json(&pool.next),
        "rollout": rollout,
    })
}

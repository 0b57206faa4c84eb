//! `tidegate plan`: what files would change in what is served, before and until it is done.

use std::path::PathBuf;

use anyhow::ensure;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_proto::plans::v1::{
    ApplyPlanRequest, CreatePlanRequest, GetPlanRequest, ListPlansRequest, Plan, PlanInfo,
};
use tidegate_proto::statuses::v1::{Diagnostic, Severity};

use super::apply::{self, SetArgs};
use super::get::short_duration;
use super::output::{Output, json_text, time};
use super::snapshots::{change_json, changes_text};
use super::wait::{self, Reached};
use super::write_out;
use crate::Outcome;
use crate::api::{Api, ServerArgs, failure};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  tidegate plan manifests/                   what these files would change; nothing is stored
  tidegate plan apply 4f1c0a2b9d3e5f60       do that, if the objects are still the same
  tidegate plan list
";

/// What to plan.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct PlanArgs {
    #[command(subcommand)]
    command: Option<PlanCommand>,
    /// Files and folders; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    set: SetArgs,
    /// Why, for the history
    #[arg(long, default_value = "tidegate plan", value_name = "TEXT")]
    reason: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

/// What to do with plans that there are.
#[derive(Debug, Subcommand)]
enum PlanCommand {
    /// Store the changes of a plan, if the objects are those that it was made for
    Apply(ApplyPlanArgs),
    /// Show what a plan would do
    Show(ShowArgs),
    /// List the plans, the newest first
    List(ListArgs),
}

#[derive(Debug, Args)]
struct ApplyPlanArgs {
    /// The plan's id
    id: String,
    /// Return when the change has come that far
    #[arg(long, value_enum, value_name = "STATE", default_value_t = Reached::Committed)]
    wait: Reached,
    /// Seconds to wait at most; then the exit code is 5
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u32,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The plan's id
    id: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

/// Makes a plan, or does something with one.
pub(crate) async fn run(args: PlanArgs) -> anyhow::Result<Outcome> {
    match args.command {
        None => return create(args).await,
        Some(PlanCommand::Apply(args)) => carry_out(args).await?,
        Some(PlanCommand::Show(args)) => {
            let api = args.server.connect().await?;
            let request = GetPlanRequest { id: args.id };
            let answer = api.plans.clone().get_plan(request).await;
            let plan = answer.map_err(failure)?.into_inner().plan;
            write_out(&text(&plan.unwrap_or_default(), args.output))?;
        }
        Some(PlanCommand::List(args)) => list(args).await?,
    }
    Ok(Outcome::Done)
}

async fn create(args: PlanArgs) -> anyhow::Result<Outcome> {
    let Some(read) = apply::read(&args.server, &args.paths, &args.set).await? else {
        return Ok(Outcome::FoundSomething);
    };
    let (api, changes, unchanged) = read;
    ensure!(
        !changes.is_empty(),
        "nothing to plan: all {unchanged} are as the files say"
    );
    eprint!("{}", apply::lines(&changes));
    let operations = changes.into_iter().map(|change| change.operation);
    let request = CreatePlanRequest {
        source: args.set.source,
        operations: operations.collect(),
        reason: args.reason,
    };
    let answer = api.plans.clone().create_plan(request).await;
    let plan = answer.map_err(failure)?.into_inner().plan;
    let plan = plan.unwrap_or_default();
    write_out(&text(&plan, args.output))?;
    let broken = |remark: &Diagnostic| remark.severity() == Severity::Error;
    Ok(if plan.added.iter().any(broken) {
        Outcome::FoundSomething
    } else {
        Outcome::Done
    })
}

async fn carry_out(args: ApplyPlanArgs) -> anyhow::Result<()> {
    let api: Api = args.server.connect().await?;
    let request = ApplyPlanRequest {
        id: args.id,
        ..ApplyPlanRequest::default()
    };
    let answer = api.plans.clone().apply_plan(request).await;
    let done = answer.map_err(failure)?.into_inner();
    eprintln!("revision {}: {} changed", done.revision, done.changed);
    wait::until(&api, args.wait, done.revision, args.timeout).await
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = args.server.connect().await?;
    let answer = api.plans.clone().list_plans(ListPlansRequest {}).await;
    let plans = answer.map_err(failure)?.into_inner().plans;
    if args.output == Output::Json {
        let plans: Vec<_> = plans.iter().map(info_json).collect();
        return Ok(write_out(&json_text(json!({"plans": plans})))?);
    }
    let now = jiff::Timestamp::now().as_millisecond();
    let mut table = Table::new(&["PLAN", "SOURCE", "BASE", "CHANGES", "AGE", "REASON"]);
    for plan in plans {
        let age = now.saturating_sub(plan.created_at_unix_ms).max(0) / 1_000;
        table.row([
            plan.id,
            plan.source,
            plan.base_revision.to_string(),
            plan.operations.to_string(),
            short_duration(age),
            plan.reason,
        ]);
    }
    Ok(write_out(&table.render())?)
}

fn text(plan: &Plan, output: Output) -> String {
    if output == Output::Json {
        return json_text(plan_json(plan));
    }
    let info = plan.info.clone().unwrap_or_default();
    let mut text = String::new();
    for pool in &plan.pools {
        let frozen = if pool.frozen {
            ", which is frozen and takes this after the freeze"
        } else {
            ""
        };
        text += &format!("pool {}{frozen}\n", pool.pool);
        text += &changes_text(&pool.changes);
    }
    if plan.pools.is_empty() {
        text += "no snapshot would change\n";
    }
    for change in &plan.statuses {
        let key = change.key.clone().unwrap_or_default();
        let what = match (change.before.is_empty(), change.after.is_empty()) {
            (true, _) => "gets a status",
            (_, true) => "loses its status",
            _ => "gets another status",
        };
        text += &format!("{}  {what}\n", title(&key.kind, &key.namespace, &key.name));
    }
    for (word, remarks) in [("new", &plan.added), ("gone", &plan.resolved)] {
        for remark in remarks {
            text += &format!("{word:<5} {}\n", remark_text(remark));
        }
    }
    let (id, base) = (&info.id, info.base_revision);
    text + &format!("plan {id} on revision {base}: tidegate plan apply {id}\n")
}

fn title(kind: &str, namespace: &str, name: &str) -> String {
    match namespace {
        "" => format!("{kind} {name}"),
        namespace => format!("{kind} {namespace}/{name}"),
    }
}

fn severity(remark: &Diagnostic) -> &'static str {
    match remark.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info | Severity::Unspecified => "info",
    }
}

fn remark_text(remark: &Diagnostic) -> String {
    let key = remark.key.clone().unwrap_or_default();
    let title = title(&key.kind, &key.namespace, &key.name);
    let severity = severity(remark);
    format!(
        "{severity:<8} {title} {}: {}  [{}]",
        remark.field, remark.message, remark.code
    )
}

fn info_json(info: &PlanInfo) -> Value {
    json!({
        "id": info.id,
        "source": info.source,
        "baseRevision": info.base_revision,
        "operations": info.operations,
        "createdAt": time(info.created_at_unix_ms),
        "reason": info.reason,
    })
}

fn plan_json(plan: &Plan) -> Value {
    let object = |key: Option<tidegate_proto::objects::v1::ObjectKey>| {
        let key = key.unwrap_or_default();
        title(&key.kind, &key.namespace, &key.name)
    };
    let status = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let remarks = |remarks: &[Diagnostic]| -> Vec<Value> {
        let remark = |remark: &Diagnostic| {
            json!({
                "severity": severity(remark),
                "code": remark.code,
                "object": object(remark.key.clone()),
                "field": remark.field,
                "message": remark.message,
            })
        };
        remarks.iter().map(remark).collect()
    };
    let pools = plan.pools.iter().map(|pool| {
        json!({
            "pool": pool.pool,
            "frozen": pool.frozen,
            "parts": pool.parts,
            "changes": pool.changes.iter().map(change_json).collect::<Vec<_>>(),
        })
    });
    let statuses = plan.statuses.iter().map(|change| {
        json!({
            "object": object(change.key.clone()),
            "before": status(&change.before),
            "after": status(&change.after),
        })
    });
    json!({
        "plan": info_json(&plan.info.clone().unwrap_or_default()),
        "pools": pools.collect::<Vec<_>>(),
        "statuses": statuses.collect::<Vec<_>>(),
        "added": remarks(&plan.added),
        "resolved": remarks(&plan.resolved),
    })
}

//! `tidegate`: the one command a person types. It runs every role, the standalone mode and the tools.

mod api;
mod batch;
mod chart;
mod commands;
mod desired;
mod echo;
mod finding;
mod offline;
mod schema;
mod source;
mod style;
mod table;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidegate_runtime::descriptors;
use tidegate_runtime::memory::{self, Allocator};

use crate::commands::{
    apply, audit, certs, cluster, completion, coverage, describe, explain, explain_code, get,
    install, lint, plan, rollout, seal_key, snapshots, sources, wait, workers,
};
use crate::style::Style;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const EXAMPLES: &str = "\
Examples:
  tidegate up                                      serve a built-in demo
  tidegate up deploy/examples/quickstart           serve Gateway API YAML, and follow its changes
  tidegate lint manifests/                         find mistakes without a cluster
  tidegate apply manifests/                        store what files say in a configd that runs
  tidegate explain GET http://shop.example.com/cart -f manifests/
                                                   see which rule wins, and why the others lose
  tidegate get httproute -A                        see what is configured
  tidegate snapshots diff                          see what changed last
  tidegate snapshots rollback                      and take it back

";

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  it failed
  2  wrong usage
  3  findings at or above --fail-on
  4  things are not as expected: a version has moved, a pool is frozen, a worker refuses
  5  what was waited for did not come in time";

/// Kubernetes Gateway API, served whole: one request sees one configuration.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, before_help = EXAMPLES, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Gateway API YAML: configd and worker in one process
    Up(up::UpArgs),
    /// Store the objects of files in a configd
    Apply(apply::ApplyArgs),
    /// Show what files would change in what is served, and do it later as it was shown
    Plan(plan::PlanArgs),
    /// Find mistakes in files, without a cluster and without running anything
    Lint(lint::LintArgs),
    /// Show which listener, rule and backend a request gets, and why the other rules lose
    Explain(explain::ExplainArgs),
    /// List the rules that no request reaches, since others come before them
    Coverage(coverage::CoverageArgs),
    /// List objects
    Get(get::GetArgs),
    /// Show one object with its conditions, routes and problems
    Describe(describe::DescribeArgs),
    /// Look at the history of snapshots, and go back in it
    #[command(subcommand)]
    Snapshots(snapshots::SnapshotsCommand),
    /// Send a new snapshot to some workers first, and stop where one refuses it
    #[command(subcommand)]
    Rollout(rollout::RolloutCommand),
    /// See where objects come from, who is silent, and which deletions wait
    #[command(subcommand)]
    Sources(sources::SourcesCommand),
    /// List the connected workers: what each serves, and what it refused
    Workers(workers::WorkersArgs),
    /// Wait until every worker serves what is configured
    Wait(wait::WaitArgs),
    /// Look at the cluster of configds, and change who belongs to it
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Say what a finding's code means
    ExplainCode(explain_code::ExplainCodeArgs),
    /// See who changed what, and who was refused
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Make certificates, and look at them
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Make and list the keys that seal private keys on configd's disk
    #[command(subcommand)]
    SealKey(seal_key::SealKeyCommand),
    /// Print the objects of an installation on Kubernetes, for kubectl apply
    Install(install::InstallArgs),
    /// Run the config store
    Configd(tidegate_configd::ConfigdArgs),
    /// Run the operator of a Kubernetes cluster
    Operator(tidegate_operator::OperatorArgs),
    /// Prepare the removal of an installation from a Kubernetes cluster
    Retire(tidegate_operator::RetireArgs),
    /// Run a worker of a pool
    Worker(tidegate_worker::WorkerArgs),
    /// Write a shell's completions to standard output
    Completion(completion::CompletionArgs),
    /// Print the version
    Version,
}

/// How a command ended, when nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    FoundSomething,
}

fn main() -> ExitCode {
    memory::refuse_huge_pages();
    descriptors::reserve();
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::FoundSomething) => ExitCode::from(3),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "{} {error:#}",
                Style::stderr().severity(finding::Severity::Error, "error:")
            );
            exit_code(&error)
        }
    }
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Lint(args) => return lint::run(&args),
        Command::ExplainCode(args) => explain_code::run(&args)?,
        Command::Audit(command) => audit::run(command)?,
        Command::SealKey(command) => seal_key::run(command)?,
        Command::Install(args) => install::run(args)?,
        Command::Completion(args) => completion::run::<Cli>(&args),
        Command::Version => println!("tidegate {}", env!("CARGO_PKG_VERSION")),
        command => return runtime(&command)?.block_on(run_async(command)),
    }
    Ok(Outcome::Done)
}

async fn run_async(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Apply(args) => return apply::run(args).await,
        Command::Plan(args) => return plan::run(args).await,
        Command::Up(args) => up::run(args).await?,
        Command::Explain(args) => explain::run(args).await?,
        Command::Coverage(args) => coverage::run(args).await?,
        Command::Get(args) => get::run(args).await?,
        Command::Describe(args) => describe::run(args).await?,
        Command::Certs(command) => certs::run(command).await?,
        Command::Cluster(command) => cluster::run(command).await?,
        Command::Snapshots(command) => snapshots::run(command).await?,
        Command::Rollout(command) => rollout::run(command).await?,
        Command::Sources(command) => sources::run(command).await?,
        Command::Workers(args) => workers::run(args).await?,
        Command::Wait(args) => wait::run(args).await?,
        Command::Configd(args) => args.run().await?,
        Command::Operator(args) => args.run().await?,
        Command::Retire(args) => args.run().await?,
        Command::Worker(args) => args.run().await?,
        Command::Lint(_)
        | Command::ExplainCode(_)
        | Command::Audit(_)
        | Command::SealKey(_)
        | Command::Install(_)
        | Command::Completion(_)
        | Command::Version => {}
    }
    Ok(Outcome::Done)
}

/// The control side needs few threads; the worker's data threads are its own.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    let threads = if matches!(
        command,
        Command::Up(_) | Command::Configd(_) | Command::Operator(_)
    ) {
        2
    } else {
        1
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<api::Refusal>() {
        Some(refusal) if refusal.is_unexpected() => ExitCode::from(4),
        Some(refusal) if refusal.is_late() => ExitCode::from(5),
        _ => ExitCode::FAILURE,
    }
}

/// `tidegate get … | head` is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

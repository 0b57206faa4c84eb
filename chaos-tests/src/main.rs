//! `tidegate-chaos-tests PROPERTY`: `chaos-tests/run` builds and calls it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidegate_chaos_tests::properties::{
    Setting, damage, durability, election, fdatasync, linearizability, upgrade,
};
use tokio::signal::unix::{SignalKind, signal};

/// Seeded faults against live processes and their files.
#[derive(Debug, Parser)]
#[command(name = "chaos-tests/run")]
struct Cli {
    /// From what the faults are drawn; another one each day where it is not given
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// The tidegate binary
    #[arg(
        long,
        global = true,
        env = "TIDEGATE",
        default_value = "tidegate",
        hide = true
    )]
    tidegate: PathBuf,
    #[command(subcommand)]
    property: Property,
}

#[derive(Debug, Subcommand)]
enum Property {
    Durability(durability::DurabilityArgs),
    Fdatasync(fdatasync::FdatasyncArgs),
    Damage(damage::DamageArgs),
    Linearizability(linearizability::LinearizabilityArgs),
    Election(election::ElectionArgs),
    Upgrade(upgrade::UpgradeArgs),
    #[command(hide = true)]
    Trial(damage::TrialArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // What runs is dropped then, and with it processes and hosts.
    let outcome = tokio::select! {
        outcome = run(&cli) => outcome,
        signal = stopped() => Err(anyhow::anyhow!("stopped by {signal}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
            eprintln!("{}", causes.join(": "));
            ExitCode::FAILURE
        }
    }
}

/// Waits for a signal that asks this process to end.
async fn stopped() -> &'static str {
    let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
    match (signal(interrupt), signal(terminate)) {
        (Ok(mut interrupt), Ok(mut terminate)) => tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        },
        _ => std::future::pending().await,
    }
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let setting = setting(cli);
    match &cli.property {
        Property::Durability(args) => durability::run(&setting, args).await,
        Property::Fdatasync(args) => fdatasync::run(&setting, args).await,
        Property::Linearizability(args) => linearizability::run(&setting, args).await,
        Property::Election(args) => election::run(&setting, args).await,
        Property::Upgrade(args) => upgrade::run(&setting, args).await,
        Property::Damage(args) => damage::run(&setting, args).await,
        Property::Trial(args) => damage::run_trial(args).await,
    }
}

fn setting(cli: &Cli) -> Setting {
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default();
    let seed = cli.seed.unwrap_or(now.as_secs() / 86_400);
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if cli.seed.is_none() {
        words.extend(["--seed".to_owned(), seed.to_string()]);
    }
    Setting {
        seed,
        tidegate: cli.tidegate.clone(),
        replay: format!("chaos-tests/run {}", words.join(" ")),
    }
}

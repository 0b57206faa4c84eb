//! A node whose files were damaged opens with everything that it acknowledged, or refuses and says what is damaged.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::task::JoinSet;

use crate::damage::fault::{self, Fault};
use crate::damage::template::{self, Kind};
use crate::damage::trial::{self, Verdict};
use crate::process::Process;
use crate::properties::Setting;

/// An open that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(90);

/// Damage files of a data directory and open it.
#[derive(Debug, Clone, Args)]
pub struct DamageArgs {
    /// Number of trials
    #[arg(long, default_value_t = 2_000)]
    trials: u64,
    /// Faults of a trial
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    faults: u8,
    /// Show every trial
    #[arg(long)]
    verbose: bool,
}

/// One trial, in a process of its own: it may hang or die.
#[derive(Debug, Clone, Args)]
pub struct TrialArgs {
    /// What kind of directory it is
    kind: String,
    /// The directory
    dir: PathBuf,
}

/// Counts of one class of files and one kind of fault.
#[derive(Debug, Default)]
struct Counts {
    whole: u64,
    refused: u64,
    violations: u64,
}

/// Runs the trials; each is told by its own seed, so that one can be run alone.
///
/// # Errors
/// Where one of them shows a violation.
pub async fn run(setting: &Setting, args: &DamageArgs) -> anyhow::Result<()> {
    let templates = tempfile::tempdir()?;
    template::make_all(templates.path()).await?;
    let mut table: BTreeMap<(String, String), Counts> = BTreeMap::new();
    let mut violations = Vec::new();
    let mut running = JoinSet::new();
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let mut seeds = (0..args.trials).map(|number| setting.seed + number);
    loop {
        // Each has a process of its own; more at once than processors would only wait for each other.
        while running.len() < at_once
            && let Some(seed) = seeds.next()
        {
            running.spawn(one(templates.path().to_owned(), seed, args.faults));
        }
        let Some(done) = running.join_next().await else {
            break;
        };
        let (seed, faults, verdict) = done??;
        let text = fault::in_words(&faults);
        if args.verbose {
            println!("{seed}  {text}: {verdict}");
        }
        let counts = table.entry(row(&faults)).or_default();
        match verdict {
            Verdict::Whole => counts.whole += 1,
            Verdict::Refused(_) => counts.refused += 1,
            Verdict::Violation(why) => {
                counts.violations += 1;
                println!("seed {seed}: {text}: {why}");
                violations.push(seed);
            }
        }
    }
    print(&table);
    match violations.first() {
        None => Ok(()),
        Some(first) => anyhow::bail!(
            "VIOLATED in {} trials of {}\nreplay: chaos-tests/run damage --seed {first} --trials 1 --faults {} --verbose",
            violations.len(),
            args.trials,
            args.faults
        ),
    }
}

/// The line of the table in which a trial counts: trials of several faults by the kinds of these.
fn row(faults: &[Fault]) -> (String, String) {
    let kinds = faults.iter().map(|fault| format!("{:?}", fault.kind));
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort();
    let class = match faults {
        [one] => one.class.clone(),
        several => format!("{} files", several.len()),
    };
    (class, kinds.join(" "))
}

/// Judges a directory in this process, for its parent.
///
/// # Errors
/// Where the kind is none.
pub async fn run_trial(args: &TrialArgs) -> anyhow::Result<()> {
    let mut kinds = Kind::ALL.into_iter();
    let (_, kind) = kinds
        .find(|(name, _)| *name == args.kind)
        .context("there is no such kind")?;
    println!("verdict {}", trial::judge(&args.dir, kind).await);
    Ok(())
}

async fn one(
    templates: PathBuf,
    seed: u64,
    faults: u8,
) -> anyhow::Result<(u64, Vec<Fault>, Verdict)> {
    let work = tempfile::tempdir()?;
    let damaged = trial::prepare(&templates, (seed, faults), work.path())?;
    let log = work.path().join("log");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("trial").arg(damaged.name).arg(&damaged.dir);
    let mut process = Process::start(&mut command, &log)?;
    let ended = process.wait(DEADLINE).await;
    let verdict = match ended {
        None => Verdict::Violation(format!("hangs for more than {} s", DEADLINE.as_secs())),
        Some(status) => told(&log, status.signal())?,
    };
    Ok((seed, damaged.faults, verdict))
}

/// What the process of a trial said last.
fn told(log: &Path, signal: Option<i32>) -> anyhow::Result<Verdict> {
    let text = fs::read(log)?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("verdict "));
    Ok(match line {
        Some("whole") => Verdict::Whole,
        Some(line) => match line.strip_prefix("refused ") {
            Some(why) => Verdict::Refused(why.to_owned()),
            None => Verdict::Violation(line.to_owned()),
        },
        None => {
            let last = text.lines().rev().take(3).collect::<Vec<_>>().join(" | ");
            Verdict::Violation(format!("the process died (signal {signal:?}): {last}"))
        }
    })
}

fn print(table: &BTreeMap<(String, String), Counts>) {
    println!(
        "{:<22} {:<28} {:>7} {:>7} {:>10}",
        "file", "fault", "whole", "refused", "violations"
    );
    let mut all = Counts::default();
    for ((class, kind), counts) in table {
        let Counts {
            whole,
            refused,
            violations,
        } = counts;
        println!("{class:<22} {kind:<28} {whole:>7} {refused:>7} {violations:>10}");
        all.whole += whole;
        all.refused += refused;
        all.violations += violations;
    }
    let Counts {
        whole,
        refused,
        violations,
    } = all;
    println!(
        "{:<22} {:<28} {whole:>7} {refused:>7} {violations:>10}",
        "all", ""
    );
}

//! No acknowledgement leaves configd before its entry is on the disk and the witness of it is written.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::configd::Place;
use crate::objects;
use crate::process::Process;
use crate::properties::Setting;
use crate::trace::{self, Write};

/// What is traced. Bytes are wanted whole: frames of these writes are far below 600 kB.
const STRACE: [&str; 7] = [
    // The traced process is the child, the tracer its grandchild.
    "-D",
    "-f",
    "-yy",
    "-xx",
    "-s",
    "600000",
    "--trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync",
];
/// Time for the tracer to write down the end.
const TRACER: Duration = Duration::from_secs(20);

/// Trace the system calls of configd while it takes writes.
#[derive(Debug, Clone, Args)]
pub struct FdatasyncArgs {
    /// Writes of each of three writers
    #[arg(long, default_value_t = 40)]
    writes: u64,
}

/// Runs the writers and judges the trace.
///
/// # Errors
/// Where an acknowledgement was early.
pub async fn run(setting: &Setting, args: &FdatasyncArgs) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let place = Place::new(work.path())?;
    let file = work.path().join("trace");
    let mut before: Vec<String> = vec!["strace".to_owned()];
    before.extend(STRACE.map(str::to_owned));
    before.extend(["-o".to_owned(), file.display().to_string()]);
    let mut process = Process::start(&mut place.command(&setting.tidegate, &before), &place.log())?;
    let client = place.ready(&mut process).await?;
    let mut writers = JoinSet::new();
    for writer in 0..3 {
        writers.spawn(write(client.clone(), writer, setting.seed, args.writes));
    }
    let mut writes = Vec::new();
    while let Some(written) = writers.join_next().await {
        writes.extend(written??);
    }
    process.kill()?;
    let trace = ended(&file).await?;
    let wrong = trace::check(&trace, &writes);
    if wrong.is_empty() {
        let syncs = trace.matches("fdatasync(").count();
        println!(
            "{} acknowledgements, each after its syncs; {syncs} calls of fdatasync",
            writes.len()
        );
        return Ok(());
    }
    let kept = work.keep();
    let text = wrong.join("\n");
    setting.violated(&format!("{text}\nfiles: {}", kept.display()))
}

async fn write(client: Client, writer: u64, seed: u64, count: u64) -> anyhow::Result<Vec<Write>> {
    let mut writes = Vec::new();
    for number in 0..count {
        let token = format!("token-{seed}-{writer}-{number}-end");
        let object = objects::map(&format!("w{writer}"), &token);
        let revision = client.apply(vec![objects::put(&object, None)]).await?;
        writes.push(Write { token, revision });
    }
    Ok(writes)
}

/// The trace once the tracer has seen the process end.
async fn ended(file: &Path) -> anyhow::Result<String> {
    let looks = TRACER.as_millis() / 100;
    for _ in 0..looks {
        let trace = fs::read(file).context("strace left no trace")?;
        let trace = String::from_utf8_lossy(&trace).into_owned();
        if trace
            .lines()
            .rev()
            .take(3)
            .any(|line| line.contains("+++ killed by SIGKILL"))
        {
            // All threads end at once; their lines are the last.
            sleep(Duration::from_millis(300)).await;
            return Ok(trace);
        }
        sleep(Duration::from_millis(100)).await;
    }
    ensure!(file.exists(), "strace left no trace");
    anyhow::bail!("the trace has no end")
}

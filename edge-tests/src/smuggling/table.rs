//! The whole comparison, and its table.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::ensure;

use crate::octets;
use crate::smuggling::downgrades;
use crate::smuggling::front::Naive;
use crate::smuggling::judge::{Counts, Verdict, judge};
use crate::smuggling::mutations::{self, Mutation};
use crate::smuggling::run::{Run, run};
use crate::smuggling::servers;
use crate::tidegate::Tidegate;
use crate::wire::pause;

/// Mutations that there must be at least.
const MUTATIONS_MIN: usize = 1600;
/// The first id; all have five digits.
const FIRST_ID: usize = 10_000;
/// Time for the logs to be written, and for connections to be given up.
const SETTLE: Duration = Duration::from_secs(3);
/// Desyncs that are printed for each server.
const PRINTED: usize = 20;

/// Sends everything through Tidegate before each server, then through the bad front; prints the tables.
///
/// # Errors
/// When there is a desync behind Tidegate, or none behind the bad front.
pub fn print(tidegate: &Path) -> anyhow::Result<()> {
    let mut mutations = mutations::all();
    mutations.extend(downgrades::all());
    ensure!(
        mutations.len() >= MUTATIONS_MIN,
        "only {} mutations",
        mutations.len()
    );
    let dir = tempfile::tempdir()?;
    let servers = servers::start(dir.path())?;
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let gateway = Tidegate::start(Command::new(tidegate), dir.path(), &addresses, &[], 1)?;
    let runs = through(&gateway.ports, &mutations)?;
    pause(SETTLE);
    let logged = gateway.logged()?;
    println!("{} mutations through Tidegate", mutations.len());
    let mut desyncs = 0;
    for (server, runs) in servers.iter().zip(&runs) {
        let verdict = judge(runs, &logged, &server.recorder.targets());
        desyncs += show(server.name, &verdict, &mutations);
    }
    drop(gateway);
    let found = control(&dir.path().join("control"), &mutations)?;
    ensure!(
        found > 0,
        "the detector finds nothing behind a front that is bad on purpose"
    );
    ensure!(desyncs == 0, "{desyncs} desyncs behind Tidegate");
    Ok(())
}

/// The same mutations through a front that is bad on purpose; returns how many desyncs are found.
fn control(dir: &Path, mutations: &[Mutation]) -> anyhow::Result<usize> {
    let mutations: Vec<_> = mutations
        .iter()
        .filter(|mutation| !mutation.is_h2)
        .cloned()
        .collect();
    let servers = servers::start(dir)?;
    let fronts: Vec<_> = servers
        .iter()
        .map(|server| Naive::start(server.address))
        .collect::<Result<_, _>>()?;
    let ports: Vec<_> = fronts.iter().map(|front| front.address).collect();
    let runs = through(&ports, &mutations)?;
    println!(
        "\n{} mutations through a front that is bad on purpose",
        mutations.len()
    );
    let mut found = 0;
    for ((server, front), runs) in servers.iter().zip(&fronts).zip(&runs) {
        let verdict = judge(runs, &front.logged(), &server.recorder.targets());
        let broken: BTreeSet<_> = verdict.desyncs.iter().map(|(id, _)| id).collect();
        println!(
            "{:<14} {:>6} desyncs by {} mutations",
            server.name,
            verdict.desyncs.len(),
            broken.len()
        );
        found += verdict.desyncs.len();
    }
    Ok(found)
}

/// Sends all mutations to each port, the ports at the same time, the mutations one after the other.
fn through(ports: &[SocketAddr], mutations: &[Mutation]) -> anyhow::Result<Vec<Vec<Run>>> {
    thread::scope(|scope| {
        let lanes: Vec<_> = ports
            .iter()
            .enumerate()
            .map(|(lane, port)| {
                let first = FIRST_ID + lane * mutations.len();
                scope.spawn(move || {
                    let runs = mutations.iter().enumerate();
                    runs.map(|(index, mutation)| run(mutation, first + index, *port))
                        .collect()
                })
            })
            .collect();
        let joined = lanes.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|lane| lane.map_err(|_| anyhow::anyhow!("a lane panicked"))?)
            .collect()
    })
}

fn show(name: &str, verdict: &Verdict, mutations: &[Mutation]) -> usize {
    println!(
        "\n{name:<24} {:>9} {:>9} {:>9}",
        "mutations", "refused", "forwarded"
    );
    let mut sum = Counts::default();
    for (kind, counts) in &verdict.kinds {
        println!(
            "  {kind:<22} {:>9} {:>9} {:>9}",
            counts.all, counts.refused, counts.forwarded
        );
        sum.all += counts.all;
        sum.refused += counts.refused;
        sum.forwarded += counts.forwarded;
    }
    println!(
        "  {:<22} {:>9} {:>9} {:>9}",
        "all", sum.all, sum.refused, sum.forwarded
    );
    println!("  desyncs: {}", verdict.desyncs.len());
    for (id, what) in verdict.desyncs.iter().take(PRINTED) {
        let index = id.checked_sub(FIRST_ID).map(|id| id % mutations.len());
        let bytes = index
            .and_then(|index| mutations.get(index))
            .map(|mutation| octets::text(&mutation.bytes));
        println!(
            "    {what}\n      {}",
            bytes.unwrap_or_default().escape_default()
        );
    }
    verdict.desyncs.len()
}

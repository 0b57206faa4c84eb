//! CPU per request: each peer in turn, on core 0, while wrk and the backend share core 1.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::process::Process;
use crate::tidegate::{Tidegate, free_address};
use crate::{backend, http, nginx, objects};

/// The host that both peers route.
const HOST: &str = "www.bench.test";

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Keep-alive connections
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Measurements of each peer, interleaved; the median counts
    #[arg(long, default_value_t = 3)]
    repetitions: usize,
    /// Routes that the worker has besides the one that is asked for
    #[arg(long, default_value_t = 0)]
    routes: usize,
    /// Hosts that those routes are spread over
    #[arg(long, default_value_t = 1000)]
    hosts: usize,
}

/// Prints every measurement, the medians and their ratio.
pub(crate) async fn run(tidegate: &Path, options: &Options) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    pin_to_core_1();
    let backend = backend::start()?;
    let (nginx_address, tidegate_address) = (free_address()?, free_address()?);
    let nginx = nginx::start(dir.path(), nginx_address, backend)?;
    let ours = Tidegate::start(tidegate, dir.path()).await?;
    let mut all = objects::base(tidegate_address.port(), backend);
    all.push(objects::route(HOST));
    all.extend(objects::spread(options.routes, options.hosts));
    objects::apply(&ours.channel, &all).await?;
    for address in [nginx_address, tidegate_address] {
        http::until_ok(address, HOST, Duration::from_secs(60)).await?;
    }
    let mut figures = [vec![], vec![]];
    for repetition in 0..options.repetitions {
        let peers = [
            ("nginx", &nginx, nginx_address),
            ("tidegate", &ours.worker, tidegate_address),
        ];
        for (index, (name, process, address)) in peers.into_iter().enumerate() {
            load(address, options.connections, 1)?;
            let figure = measure(process, address, options)?;
            println!(
                "{name:9} run {}: {figure:.2} CPU-µs per request",
                repetition + 1
            );
            figures[index].push(figure);
        }
    }
    let [nginx, ours] = figures.map(median);
    println!(
        "nginx {nginx:.2}  tidegate {ours:.2}  ratio {:.2}",
        ours / nginx
    );
    Ok(())
}

fn measure(process: &Process, address: SocketAddr, options: &Options) -> anyhow::Result<f64> {
    let before = process.cpu_ns()?;
    let requests = load(address, options.connections, options.seconds)?;
    Ok((process.cpu_ns()? - before) as f64 / 1e3 / requests as f64)
}

/// Requests that wrk completed; anything but 2xx is an error.
fn load(address: SocketAddr, connections: u32, seconds: u32) -> anyhow::Result<u64> {
    let output = Command::new("taskset")
        .args([
            "-c",
            "1",
            "wrk",
            "-t1",
            &format!("-c{connections}"),
            &format!("-d{seconds}s"),
        ])
        .args([
            "-H",
            &format!("Host: {HOST}"),
            &format!("http://{address}/"),
        ])
        .output()
        .context("cannot start wrk; bench/setup installs it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("wrk saw errors:\n{text}");
    }
    let line = text.lines().find(|line| line.contains(" requests in "));
    let requests = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    requests.with_context(|| format!("wrk printed no count:\n{text}"))
}

/// The backend runs in this process, which must not disturb core 0.
fn pin_to_core_1() {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset")
        .args(["-a", "-p", "-c", "1", &pid])
        .output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        eprintln!("cannot pin to core 1; the figures are noisier");
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

//! Time from Apply to served: one more route on top of 1, 1,000 and 10,000.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;

use crate::peers::tidegate::{Tidegate, free_address};
use crate::{backend, http, objects};

/// Longest wait for the routes that are in place before the measurement.
const LOAD_LIMIT: Duration = Duration::from_secs(120);

/// Longest wait for one route.
const ROUTE_LIMIT: Duration = Duration::from_secs(10);

/// Time after the last change before memory is read: idle threads of the runtime, and what they kept, are
/// gone after ten seconds.
const REST: Duration = Duration::from_secs(15);

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Routes that are in place
    #[arg(long, value_delimiter = ',', default_value = "1,1000,10000")]
    routes: Vec<usize>,
    /// Routes that are added, one after the other
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Hosts that those routes are spread over
    #[arg(long, default_value_t = 1000)]
    hosts: usize,
}

/// Prints a row for each number of routes.
pub(crate) async fn run(tidegate: &Path, options: &Options) -> anyhow::Result<()> {
    let backend = backend::http1()?;
    println!("routes  loaded_s  p50_ms  p99_ms  max_ms  worker_rss_mb  configd_rss_mb");
    for routes in &options.routes {
        let row = measure(tidegate, backend, *routes, options).await?;
        println!("{row}");
    }
    Ok(())
}

async fn measure(
    binary: &Path,
    backend: SocketAddr,
    routes: usize,
    options: &Options,
) -> anyhow::Result<String> {
    let dir = tempfile::tempdir()?;
    let tidegate = Tidegate::start(binary, dir.path()).await?;
    let address = free_address()?;

    let started = Instant::now();
    let mut all = objects::base(address.port(), backend);
    all.extend(objects::spread(routes, options.hosts));
    objects::apply(&tidegate.channel, &all).await?;
    let last = objects::spread_host(routes - 1, options.hosts);
    http::until_ok(address, &last, LOAD_LIMIT).await?;
    let loaded = started.elapsed();

    let mut times = Vec::with_capacity(options.rounds);
    for round in 0..options.rounds {
        let host = format!("new-{round}.bench.test");
        let started = Instant::now();
        objects::apply(&tidegate.channel, &[objects::route(&host)]).await?;
        http::until_ok(address, &host, ROUTE_LIMIT).await?;
        times.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Memory is read when the worker has come to rest.
    tokio::time::sleep(REST).await;
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1;
        times[index].as_secs_f64() * 1e3
    };
    Ok(format!(
        "{routes:6}  {:8.2}  {:6.2}  {:6.2}  {:6.2}  {:13.1}  {:14.1}",
        loaded.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
        tidegate.worker.rss_kib()? as f64 / 1024.0,
        tidegate.configd.rss_kib()? as f64 / 1024.0,
    ))
}

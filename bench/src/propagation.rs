//! Time from Apply to served: one more route on top of many while others change, and many routes at once.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::transport::Channel;

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
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000")]
    routes: Vec<usize>,
    /// Other routes that change in a second meanwhile
    #[arg(long, default_value_t = 10)]
    churn: usize,
    /// Routes that are added in one batch at the end; 0 for none
    #[arg(long, default_value_t = 1000)]
    at_once: usize,
    /// Routes that are added, one after the other
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Hosts that those routes are spread over
    #[arg(long, default_value_t = 1000)]
    hosts: usize,
    /// Gives each of those hosts a ListenerSet of its own
    #[arg(long)]
    listener_sets: bool,
}

impl Options {
    /// The routes that are in place.
    fn spread(&self, routes: usize) -> Vec<Value> {
        let spread = objects::spread(routes, self.hosts);
        match self.listener_sets {
            true => spread.map(objects::in_listener_set).collect(),
            false => spread.collect(),
        }
    }
}

/// Prints a row for each number of routes.
pub(crate) async fn run(tidegate: &Path, options: &Options) -> anyhow::Result<()> {
    let backend = backend::http1()?;
    println!("routes  loaded_s  p50_ms  p99_ms  max_ms  at_once_ms  worker_rss_mb  configd_rss_mb");
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
    if options.listener_sets {
        all.extend(objects::listener_sets(address.port(), options.hosts));
    }
    let spread = options.spread(routes);
    all.extend(spread.iter().cloned());
    objects::apply(&tidegate.channel, &all).await?;
    let last = objects::spread_host(routes - 1, options.hosts);
    http::until_ok(address, &last, LOAD_LIMIT).await?;
    let loaded = started.elapsed();

    let mut changing = JoinSet::new();
    changing.spawn(churn(tidegate.channel.clone(), spread, options.churn));
    let mut times = Vec::with_capacity(options.rounds);
    for round in 0..options.rounds {
        let host = format!("new-{round}.bench.test");
        let started = Instant::now();
        objects::apply(&tidegate.channel, &[objects::route(&host)]).await?;
        http::until_ok(address, &host, ROUTE_LIMIT).await?;
        times.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    changing.shutdown().await;
    let at_once = many(&tidegate, options).await?;
    // Memory is read when the worker has come to rest.
    tokio::time::sleep(REST).await;
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1;
        times[index].as_secs_f64() * 1e3
    };
    Ok(format!(
        "{routes:6}  {:8.2}  {:6.2}  {:6.2}  {:6.2}  {:10.0}  {:13.1}  {:14.1}",
        loaded.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
        at_once.as_secs_f64() * 1e3,
        tidegate.worker.rss_kib()? as f64 / 1024.0,
        tidegate.configd.rss_kib()? as f64 / 1024.0,
    ))
}

/// Changes one route after the other until it is ended.
async fn churn(channel: Channel, all: Vec<Value>, in_a_second: usize) {
    if in_a_second == 0 {
        return;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / in_a_second as u32);
    for turn in 1.. {
        ticks.tick().await;
        let mut route = all[turn % all.len()].clone();
        route["spec"]["rules"][0]["backendRefs"][0]["weight"] = (turn % 1000 + 1).into();
        // Whether each of them came through does not matter here.
        let _ = objects::apply(&channel, &[route]).await;
    }
}

/// Time until routes that come in one batch are served, and their statuses say so.
async fn many(tidegate: &Tidegate, options: &Options) -> anyhow::Result<Duration> {
    let more =
        (0..options.at_once).map(|index| objects::route(&format!("more-{index}.bench.test")));
    let more: Vec<_> = more.collect();
    let started = Instant::now();
    objects::apply_and_converge(&tidegate.channel, &more).await?;
    Ok(started.elapsed())
}

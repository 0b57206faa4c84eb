//! CPU for each piece of work: the peers in turn, on core 0, while load and backends share core 1.

mod work;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::net::TcpStream;

use crate::backend::Backends;
use crate::certificates::Certificates;
use crate::objects;
use crate::peers::{Peer, Running, Site};
use crate::process;
use work::{Material, Work};

/// Seconds of load before the first measurement of a peer, so that its connections are there.
const WARM_UP: u32 = 1;

/// Longest wait for a peer to listen.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Kinds of work; all of them without it
    #[arg(long, value_delimiter = ',')]
    work: Vec<Work>,
    /// Proxies that are measured
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "nginx,haproxy,envoy,tidegate"
    )]
    peers: Vec<Peer>,
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

/// Prints a row for each kind of work: the medians of the peers, and ours over the best other one.
pub(crate) async fn run(tidegate: &Path, options: &Options) -> anyhow::Result<()> {
    process::pin_this(1);
    let dir = tempfile::tempdir()?;
    let certificates = Certificates::new(dir.path())?;
    let site = Site {
        dir: dir.path(),
        backends: Backends::start(&certificates.ecdsa)?,
        certificates: &certificates,
    };
    let material = Material::new(dir.path(), &certificates)?;
    let mut peers = vec![];
    for peer in &options.peers {
        let routes = objects::spread(options.routes, options.hosts);
        let running = peer.start(site, tidegate, routes).await?;
        listens(&running).await?;
        peers.push(running);
    }
    print!("{:12}", "work");
    peers
        .iter()
        .for_each(|peer| print!("{:>10}", peer.peer.name()));
    println!("{:>8}  unit", "ratio");
    let all = if options.work.is_empty() {
        &Work::ALL[..]
    } else {
        &options.work
    };
    for work in all {
        row(*work, &peers, &material, options).await?;
    }
    Ok(())
}

async fn row(
    work: Work,
    peers: &[Running],
    material: &Material,
    options: &Options,
) -> anyhow::Result<()> {
    let mut figures: Vec<Vec<f64>> = vec![vec![]; peers.len()];
    for repetition in 0..options.repetitions {
        for turn in 0..peers.len() {
            let index = (turn + repetition) % peers.len();
            let peer = &peers[index];
            if !work.is_done_by(peer.peer) {
                continue;
            }
            work.run(peer.ports, material, WARM_UP).await?;
            let before = peer.cpu_ns()?;
            let done = work.run(peer.ports, material, options.seconds).await?;
            figures[index].push(work.figure(peer.cpu_ns()? - before, done));
        }
    }
    let medians: Vec<Option<f64>> = figures.into_iter().map(median).collect();
    print!("{:12}", work.name());
    for median in &medians {
        match median {
            Some(figure) => print!("{figure:>10.2}"),
            None => print!("{:>10}", "-"),
        }
    }
    match ratio(work, peers, &medians) {
        Some(ratio) => println!("{ratio:>8.2}  {}", work.unit()),
        None => println!("{:>8}  {}", "-", work.unit()),
    }
    Ok(())
}

/// Our figure over that of the best other peer.
fn ratio(work: Work, peers: &[Running], medians: &[Option<f64>]) -> Option<f64> {
    let is_ours = |peer: &Running| peer.peer == Peer::Tidegate;
    let pairs = || peers.iter().zip(medians);
    let ours = pairs().find_map(|(peer, median)| median.filter(|_| is_ours(peer)))?;
    let others = pairs().filter_map(|(peer, median)| median.filter(|_| !is_ours(peer)));
    let best = if work.more_is_better() {
        others.max_by(f64::total_cmp)?
    } else {
        others.min_by(f64::total_cmp)?
    };
    Some(ours / best)
}

/// Waits until a peer listens.
pub(crate) async fn listens(peer: &Running) -> anyhow::Result<()> {
    let started = Instant::now();
    while TcpStream::connect(peer.ports.http).await.is_err() {
        let name = peer.peer.name();
        anyhow::ensure!(started.elapsed() < START_LIMIT, "{name} does not listen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

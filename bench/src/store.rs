//! Objects committed in a second, and how long a commit takes, by configd and by etcd on the same disk.

mod etcd;
mod nodes;
mod tidegate;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// Objects that each writer writes again and again, unless that would be too many of all.
const OBJECTS_OF_A_WRITER: usize = 1000;

/// Objects of all writers: fewer than configd's quota of a source.
const OBJECTS_MAX: usize = 128_000;

/// Time of writing before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Sizes of the cluster
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    nodes: Vec<usize>,
    /// Writers at the same time, each of which waits for its answer
    #[arg(long, value_delimiter = ',', default_value = "1,16,256")]
    writers: Vec<usize>,
    /// Objects in a write: a batch of ours, transactions of etcd's
    #[arg(long, value_delimiter = ',', default_value = "1,100")]
    batches: Vec<usize>,
    /// Operations of a transaction of etcd's, at most: its own default
    #[arg(long, default_value = "128")]
    etcd_operations: NonZeroUsize,
    /// Time of each measurement
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

/// A store that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// With transactions of so many operations at most.
    Etcd {
        operations: usize,
    },
    Tidegate,
}

/// What one measurement is about.
#[derive(Debug, Clone, Copy)]
struct Load {
    writers: usize,
    batch: usize,
    time: Duration,
}

/// What came of it: the time of each write.
#[derive(Debug, Default)]
struct Written {
    times: Vec<Duration>,
}

/// Prints a row for each size, batch and number of writers.
pub(crate) async fn run(binary: &Path, options: &Options) -> anyhow::Result<()> {
    println!("nodes  batch  writers    etcd_obj/s   p99_ms  tidegate_obj/s   p99_ms  ratio");
    let etcd = Peer::Etcd {
        operations: options.etcd_operations.get(),
    };
    for nodes in &options.nodes {
        for batch in &options.batches {
            for writers in &options.writers {
                let load = Load {
                    writers: *writers,
                    batch: *batch,
                    time: Duration::from_secs(options.seconds),
                };
                println!("{}", row(binary, etcd, *nodes, load).await?);
            }
        }
    }
    Ok(())
}

/// Each measurement has stores of its own: none inherits another's data.
async fn row(binary: &Path, etcd: Peer, nodes: usize, load: Load) -> anyhow::Result<String> {
    let (etcd_rate, etcd_p99) = measure(etcd, binary, nodes, load).await?;
    let (rate, p99) = measure(Peer::Tidegate, binary, nodes, load).await?;
    let Load { writers, batch, .. } = load;
    let ratio = rate / etcd_rate.max(1.0);
    Ok(format!(
        "{nodes:5}  {batch:5}  {writers:7}  {etcd_rate:12.0}  {etcd_p99:7.2}  {rate:14.0}  {p99:7.2}  {ratio:5.2}"
    ))
}

/// Objects in a second, and the p99 of a write in milliseconds.
async fn measure(
    peer: Peer,
    binary: &Path,
    count: usize,
    load: Load,
) -> anyhow::Result<(f64, f64)> {
    let dir = tempfile::tempdir()?;
    let nodes = match peer {
        Peer::Etcd { operations } => etcd::start(dir.path(), count, operations)?,
        Peer::Tidegate => tidegate::start(binary, dir.path(), count)?,
    };
    let channel = nodes.writable(peer).await?;
    let begin = Instant::now() + WARM_UP;
    let mut writers = JoinSet::new();
    for writer in 0..load.writers {
        writers.spawn(write(peer, channel.clone(), writer, load, begin));
    }
    let mut all = Written::default();
    while let Some(written) = writers.join_next().await {
        all.times.extend(written??.times);
    }
    let rate = (all.times.len() * load.batch) as f64 / load.time.as_secs_f64();
    Ok((rate, all.p99().as_secs_f64() * 1e3))
}

/// Writes until the time is over; what ends after the warm-up counts.
async fn write(
    peer: Peer,
    channel: Channel,
    writer: usize,
    load: Load,
    begin: Instant,
) -> anyhow::Result<Written> {
    let (mut written, mut object) = (Written::default(), 0);
    let own = OBJECTS_OF_A_WRITER.min(OBJECTS_MAX / load.writers);
    let own = own.max(load.batch);
    loop {
        let names: Vec<_> = (object..object + load.batch)
            .map(|index| format!("w{writer}-{}", index % own))
            .collect();
        object += load.batch;
        let begun = Instant::now();
        peer.put(&channel, &names, object).await?;
        let now = Instant::now();
        if now >= begin + load.time {
            return Ok(written);
        }
        if now >= begin {
            written.times.push(now - begun);
        }
    }
}

impl Peer {
    /// Commits one object for each name, all of them or none.
    async fn put(self, channel: &Channel, names: &[String], turn: usize) -> anyhow::Result<()> {
        match self {
            Self::Etcd { operations } => etcd::put_in(channel, operations, names, turn).await,
            Self::Tidegate => tidegate::put(channel, names, turn).await,
        }
    }
}

impl Written {
    fn p99(&mut self) -> Duration {
        self.times.sort_unstable();
        let index = (self.times.len() * 99 / 100).min(self.times.len().saturating_sub(1));
        self.times.get(index).copied().unwrap_or_default()
    }
}

/// JSON of an object of some 600 bytes that no route refers to: it is stored and compiled, and changes no snapshot. Written by
/// hand, so that the stores have the processor and not the making of objects.
fn object(name: &str, turn: usize) -> String {
    static FILLING: LazyLock<String> = LazyLock::new(|| "x".repeat(400));
    let filling = FILLING.as_str();
    format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{{\"annotations\":{{\"filling\":\"{filling}\",\
         \"turn\":\"{turn}\"}},\"name\":\"{name}\",\"namespace\":\"bench\"}},\
         \"spec\":{{\"ports\":[{{\"name\":\"main\",\"port\":80,\"protocol\":\"TCP\"}}]}}}}"
    )
}

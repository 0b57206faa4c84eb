//! Workers that connect all at once: how long until each has the newest snapshot, and what they cost configd.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use tidegate_proto::snapshots::v1::snapshot_service_client::SnapshotServiceClient;
use tidegate_proto::snapshots::v1::subscribe_request::Message as Say;
use tidegate_proto::snapshots::v1::subscribe_response::Message as Hear;
use tidegate_proto::snapshots::v1::{
    Ack, Hello, SnapshotId, SubscribeRequest, SubscribeResponse, Update,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::objects;
use crate::peers::tidegate::{Configd, POOL};

/// Longest wait for all of them.
const LIMIT: Duration = Duration::from_secs(120);

/// Time after the last answer before memory is read.
const REST: Duration = Duration::from_secs(3);

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Routes that are in place
    #[arg(long, default_value_t = 5000)]
    routes: usize,
    /// Workers
    #[arg(long, default_value_t = 1000)]
    workers: usize,
    /// Routes that change while no worker is connected
    #[arg(long, default_value_t = 20)]
    changes: usize,
    /// Hosts that the routes are spread over
    #[arg(long, default_value_t = 1000)]
    hosts: usize,
}

/// A connected worker that keeps nothing but the name of what it has. Its stream ends with it.
struct Worker {
    have: SnapshotId,
    _answers: mpsc::Sender<SubscribeRequest>,
    _stream: Streaming<SubscribeResponse>,
}

/// Prints a row for workers that have nothing, and one for the same workers when they come back.
pub(crate) async fn run(binary: &Path, options: &Options) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let configd = Configd::start_anywhere(binary, dir.path()).await?;
    let address = configd.address;
    let mut all = objects::base(8080, ([127, 0, 0, 1], 3000).into());
    all.extend(objects::spread(options.routes, options.hosts));
    objects::apply_and_compile(&configd.channel, &all).await?;
    tokio::time::sleep(REST).await;
    let alone = configd.process.rss_kib()?;
    println!("workers  have  converged_s  slowest_ms  peak_rss_mb  rss_mb  kib_per_worker");
    let row = |have: &str, took: (Duration, Duration)| -> anyhow::Result<String> {
        let (peak, rss) = (configd.process.peak_rss_kib()?, configd.process.rss_kib()?);
        let each = (rss as f64 - alone as f64) / options.workers as f64;
        Ok(format!(
            "{:7}  {have}  {:11.2}  {:10.0}  {:11.1}  {:6.1}  {each:14.1}",
            options.workers,
            took.0.as_secs_f64(),
            took.1.as_secs_f64() * 1e3,
            peak as f64 / 1024.0,
            rss as f64 / 1024.0,
        ))
    };
    configd.process.forget_peak()?;
    let (workers, took) = connect(address, options.workers, &[]).await?;
    tokio::time::sleep(REST).await;
    println!("{}", row("none", took)?);

    let have: Vec<SnapshotId> = workers.iter().map(|worker| worker.have.clone()).collect();
    drop(workers);
    let changed: Vec<_> = objects::spread(options.routes, options.hosts)
        .take(options.changes)
        .map(|mut route| {
            route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7.into();
            route
        })
        .collect();
    objects::apply_and_compile(&configd.channel, &changed).await?;
    tokio::time::sleep(REST).await;
    configd.process.forget_peak()?;
    let (_workers, took) = connect(address, options.workers, &have).await?;
    tokio::time::sleep(REST).await;
    println!("{}", row("last", took)?);
    Ok(())
}

/// Connects all at once; the workers, the time until the last one has answered, and the longest that one took.
async fn connect(
    address: SocketAddr,
    count: usize,
    have: &[SnapshotId],
) -> anyhow::Result<(Vec<Worker>, (Duration, Duration))> {
    let started = Instant::now();
    let mut connecting = JoinSet::new();
    for number in 0..count {
        let have = have.get(number).cloned();
        connecting.spawn(async move {
            let started = Instant::now();
            let worker = tokio::time::timeout(LIMIT, subscribe(address, number, have)).await;
            anyhow::Ok((worker.context("a worker is late")??, started.elapsed()))
        });
    }
    let (mut workers, mut slowest) = (Vec::with_capacity(count), Duration::ZERO);
    while let Some(connected) = connecting.join_next().await {
        let (worker, took) = connected??;
        slowest = slowest.max(took);
        workers.push(worker);
    }
    Ok((workers, (started.elapsed(), slowest)))
}

async fn subscribe(
    address: SocketAddr,
    number: usize,
    have: Option<SnapshotId>,
) -> anyhow::Result<Worker> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let channel: Channel = endpoint.connect().await?;
    let (answers, to_send) = mpsc::channel(4);
    let hello = Hello {
        pool: POOL.to_owned(),
        worker: format!("worker-{number}"),
        have,
    };
    say(&answers, Say::Hello(hello)).await?;
    let mut client = SnapshotServiceClient::new(channel);
    let mut stream = client
        .subscribe(ReceiverStream::new(to_send))
        .await?
        .into_inner();
    loop {
        let heard = stream
            .message()
            .await?
            .context("configd ended the stream")?;
        let Some(Hear::Update(Update {
            info: Some(info),
            last: true,
            ..
        })) = heard.message
        else {
            continue;
        };
        let ack = Ack {
            id: info.id.clone(),
            ..Ack::default()
        };
        say(&answers, Say::Ack(ack)).await?;
        return Ok(Worker {
            have: info.id.unwrap_or_default(),
            _answers: answers,
            _stream: stream,
        });
    }
}

async fn say(answers: &mpsc::Sender<SubscribeRequest>, message: Say) -> anyhow::Result<()> {
    let message = Some(message);
    answers
        .send(SubscribeRequest { message })
        .await
        .context("configd ended the stream")
}

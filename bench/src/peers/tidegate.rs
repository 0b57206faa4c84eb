//! configd and one worker, as in production: two processes, the worker with one thread on core 0.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tonic::transport::{Channel, Endpoint};

use crate::process::Process;

/// The pool that the worker serves.
pub(crate) const POOL: &str = "bench";

/// A running configd without a worker of its own.
#[derive(Debug)]
pub(crate) struct Configd {
    /// The process.
    pub(crate) process: Process,
    /// Of its services.
    pub(crate) address: SocketAddr,
    /// To its services.
    pub(crate) channel: Channel,
}

impl Configd {
    /// Starts it on any core; its files and log go below `dir`.
    pub(crate) async fn start_anywhere(binary: &Path, dir: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let log = dir.join("configd.log");
        let arguments = configd_arguments(dir, address)?;
        let process = Process::start_anywhere(binary, &arguments, &log)?;
        let channel = connect(address).await;
        let channel = channel.with_context(|| std::fs::read_to_string(log).unwrap_or_default())?;
        Ok(Self {
            process,
            address,
            channel,
        })
    }
}

/// A running configd and worker.
#[derive(Debug)]
pub(crate) struct Tidegate {
    /// The process that is measured.
    pub(crate) worker: Process,
    /// Its control plane.
    pub(crate) configd: Process,
    /// To configd's services.
    pub(crate) channel: Channel,
}

impl Tidegate {
    /// Starts both; their files and logs go below `dir`.
    pub(crate) async fn start(binary: &Path, dir: &Path) -> anyhow::Result<Self> {
        let configd_address = free_address()?;
        let configd = configd_arguments(dir, configd_address)?;
        let configd = Process::start(1, binary, &configd, &dir.join("configd.log"))?;
        let mut worker = arguments(
            dir,
            "worker",
            &[
                ("configd", format!("http://{configd_address}")),
                ("admin", free_address()?.to_string()),
                ("pool", POOL.to_owned()),
                ("name", "bench-1".to_owned()),
                ("threads", "1".to_owned()),
                ("bind", "127.0.0.1".to_owned()),
            ],
        );
        worker.push("--no-access-log".to_owned());
        let worker = Process::start(0, binary, &worker, &dir.join("worker.log"))?;
        let channel = connect(configd_address).await.with_context(|| {
            let log: PathBuf = dir.join("configd.log");
            std::fs::read_to_string(log).unwrap_or_default()
        })?;
        Ok(Self {
            worker,
            configd,
            channel,
        })
    }
}

fn configd_arguments(dir: &Path, listen: SocketAddr) -> anyhow::Result<Vec<String>> {
    let flags = [
        ("listen", listen.to_string()),
        ("admin", free_address()?.to_string()),
        ("pool", POOL.to_owned()),
    ];
    Ok(arguments(dir, "configd", &flags))
}

fn arguments(dir: &Path, role: &str, more: &[(&str, String)]) -> Vec<String> {
    let data = dir.join(role).display().to_string();
    let mut arguments = vec![role.to_owned(), "--data-dir".to_owned(), data];
    for (flag, value) in more {
        arguments.extend([format!("--{flag}"), value.clone()]);
    }
    arguments
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// So many of them, each another one: a port that was let go may be given to the next who asks.
pub(crate) fn free_addresses(count: usize) -> std::io::Result<Vec<SocketAddr>> {
    let held: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    held.iter().map(TcpListener::local_addr).collect()
}

async fn connect(address: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    for _ in 0..100 {
        if let Ok(channel) = endpoint.connect().await {
            return Ok(channel);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("configd does not answer at {address}")
}

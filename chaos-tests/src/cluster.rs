//! Configds on hosts of their own, and what is done to them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tidegate_proto::cluster::v1::GetStatusRequest;
use tidegate_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Endpoint;

use crate::chance::Chance;
use crate::client::Client;
use crate::hosts::Network;
use crate::objects::POOL;
use crate::process::Process;

/// Time for all nodes to answer again.
const RECOVERY: Duration = Duration::from_secs(90);
/// Time between two questions to a node that starts.
const LOOK: Duration = Duration::from_millis(50);
/// Time for a node to say who leads.
const ANSWER: Duration = Duration::from_secs(1);
const API: u16 = 15_010;
const PEERS: u16 = 15_011;

/// What is done to a node, and undone later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`.
    Kill,
    /// It is stopped, as a host under a hypervisor may be, and goes on later as if no time had passed.
    Pause,
    /// It does not reach the other nodes; clients reach it.
    Isolate,
    /// Nobody reaches it.
    Unplug,
}

/// What can be done to a node among others.
pub const FAULTS: [Fault; 4] = [Fault::Kill, Fault::Pause, Fault::Isolate, Fault::Unplug];
/// What can be done to a node that is alone.
pub const FAULTS_ALONE: [Fault; 2] = [Fault::Kill, Fault::Pause];

/// A cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    /// The hosts; those after the nodes' are free for others.
    pub network: Network,
    /// The binary of what is not a node.
    tidegate: PathBuf,
    /// The binary of each node.
    releases: Vec<PathBuf>,
    work: PathBuf,
    /// Ended before the network is.
    nodes: Vec<Option<Process>>,
}

impl Cluster {
    /// Starts so many nodes, on a network with some more hosts, and waits until they answer.
    ///
    /// # Errors
    /// When they do not.
    pub async fn start(tidegate: &Path, work: &Path, nodes: u8, more: u8) -> anyhow::Result<Self> {
        let mut cluster = Self {
            network: Network::new(nodes + more)?,
            tidegate: tidegate.to_owned(),
            releases: vec![tidegate.to_owned(); usize::from(nodes)],
            work: work.to_owned(),
            nodes: (0..nodes).map(|_| None).collect(),
        };
        cluster.recover().await?;
        Ok(cluster)
    }

    /// Number of nodes.
    #[must_use]
    pub fn size(&self) -> u8 {
        u8::try_from(self.nodes.len()).unwrap_or_default()
    }

    /// A file beside those of the nodes.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// Where a node takes requests.
    #[must_use]
    pub fn address(&self, node: u8) -> SocketAddr {
        self.network.at(node, API)
    }

    /// Does something to a node.
    ///
    /// # Errors
    /// As the system says.
    pub fn strike(&mut self, node: u8, fault: Fault) -> anyhow::Result<()> {
        match (fault, self.nodes[usize::from(node)].as_mut()) {
            (Fault::Kill, Some(process)) => {
                process.kill()?;
                self.nodes[usize::from(node)] = None;
            }
            (Fault::Pause, Some(process)) => process.signal(Signal::STOP),
            (Fault::Isolate, _) => self.network.isolate(node)?,
            (Fault::Unplug, _) => self.network.unplug(node)?,
            (Fault::Kill | Fault::Pause, None) => {}
        }
        Ok(())
    }

    /// Ends a node as an operator does, and has it go on with another binary.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn replace(&mut self, node: u8, release: &Path) -> anyhow::Result<()> {
        let index = usize::from(node);
        if let Some(mut process) = self.nodes[index].take() {
            process.signal(Signal::TERM);
            let ended = process.wait(RECOVERY).await;
            ended.with_context(|| format!("node {node} does not end"))?;
        }
        release.clone_into(&mut self.releases[index]);
        self.nodes[index] = Some(self.node(node)?);
        Ok(())
    }

    /// Undoes everything without waiting for what comes of it.
    ///
    /// # Errors
    /// As the system says.
    pub fn undo(&mut self) -> anyhow::Result<()> {
        self.network.heal()?;
        for node in 0..self.size() {
            match &mut self.nodes[usize::from(node)] {
                Some(process) => process.signal(Signal::CONT),
                None => self.nodes[usize::from(node)] = Some(self.node(node)?),
            }
        }
        Ok(())
    }

    /// Undoes everything and waits until every node answers with what the leader knows.
    ///
    /// # Errors
    /// When one does not, with the end of its log.
    pub async fn recover(&mut self) -> anyhow::Result<()> {
        self.undo()?;
        let end = Instant::now() + RECOVERY;
        for node in 0..self.size() {
            let client = Client::patient(self.address(node), Duration::from_secs(5));
            while let Err(status) = client.list("Gateway").await {
                let process = self.nodes[usize::from(node)].as_mut();
                if let Some(status) = process.and_then(Process::ended) {
                    bail!("node {node} ended ({status}): {}", self.last_words(node));
                }
                if Instant::now() > end {
                    let text = self.last_words(node);
                    bail!("node {node} does not answer: {}; {text}", status.message());
                }
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// The node that leads, as the first node says that answers.
    ///
    /// # Errors
    /// When nobody leads for too long.
    pub async fn leader(&self) -> anyhow::Result<u8> {
        let end = Instant::now() + RECOVERY;
        loop {
            if let Some(leader) = self.leader_now().await {
                return Ok(leader);
            }
            if Instant::now() > end {
                bail!("no node leads");
            }
            sleep(LOOK).await;
        }
    }

    /// The same without waiting for one: while faults last there may be none.
    async fn leader_now(&self) -> Option<u8> {
        for node in 0..self.size() {
            if let Some(leader) = self.leader_by(node).await {
                return Some(leader);
            }
        }
        None
    }

    async fn leader_by(&self, node: u8) -> Option<u8> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address(node))).ok()?;
        let mut client = ClusterServiceClient::new(endpoint.connect_lazy());
        // The time for a request does not count what a connection takes to a host that is unplugged: minutes.
        let asked = timeout(ANSWER, client.get_status(GetStatusRequest {})).await;
        let status = asked.ok()?.ok()?;
        let leader = status.into_inner().leader?;
        (0..self.size()).find(|node| leader.name == name(*node))
    }

    /// A node by chance; half of the time it is the one that leads, if one does.
    pub async fn pick(&self, chance: &mut Chance) -> u8 {
        let (is_leader, any) = (chance.once_in(2), chance.below(self.size().into()));
        let leader = if is_leader {
            self.leader_now().await
        } else {
            None
        };
        leader.unwrap_or_else(|| u8::try_from(any).unwrap_or_default())
    }

    /// Starts a worker with one thread on a host; all nodes are told to it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn worker_on(&self, host: u8) -> anyhow::Result<Process> {
        let configds = (0..self.size()).map(|node| format!("http://{}", self.address(node)));
        let configds = configds.collect::<Vec<_>>().join(",");
        let bind = self.network.host(host).to_string();
        let mut arguments = vec!["worker", "--configd", &configds, "--pool", POOL];
        arguments.extend(["--name", "worker", "--threads", "1", "--bind", &bind]);
        arguments.extend(["--no-access-log", "--insecure-plaintext"]);
        self.run_on(host, &self.tidegate, "worker.log", &arguments)
    }

    /// Starts a program of `tidegate` on a host, with its output in a file of this name.
    fn run_on(
        &self,
        host: u8,
        tidegate: &Path,
        log: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Process> {
        let before = self.network.on(host);
        let (program, rest) = before.split_first().context("a host has a prefix")?;
        let mut command = Command::new(program);
        command.args(rest).arg(tidegate).args(arguments);
        command.env_remove("RUST_LOG");
        Process::start(&mut command, &self.work.join(log))
    }

    fn node(&self, node: u8) -> anyhow::Result<Process> {
        let peers: Vec<_> = (0..self.size())
            .map(|node| self.network.at(node, PEERS).to_string())
            .collect();
        let data = self.work.join(format!("data-{node}"));
        let (data, name, peer) = (
            data.to_string_lossy(),
            name(node),
            &peers[usize::from(node)],
        );
        let (listen, cluster) = (self.address(node).to_string(), peers.join(","));
        let mut arguments = vec!["configd", "--data-dir", &data, "--listen", &listen];
        arguments.extend(["--pool", POOL, "--insecure-plaintext"]);
        if self.size() > 1 {
            arguments.extend(["--node-name", &name, "--peer-listen", peer]);
            arguments.extend(["--initial-cluster", &cluster]);
        }
        let release = &self.releases[usize::from(node)];
        self.run_on(node, release, &log(node), &arguments)
    }

    fn last_words(&self, node: u8) -> String {
        let log = std::fs::read(self.work.join(log(node))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut last: Vec<_> = log.lines().rev().take(5).collect();
        last.reverse();
        last.join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Before the network: a namespace lives as long as a process is in it.
        self.nodes.clear();
    }
}

fn name(node: u8) -> String {
    format!("node-{node}")
}

fn log(node: u8) -> String {
    format!("node-{node}.log")
}

//! configd as a process of its own, alone.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::objects::POOL;
use crate::process::Process;

/// A start that takes longer hangs.
pub const START: Duration = Duration::from_secs(60);
/// Time between two questions to one that starts.
const LOOK: Duration = Duration::from_millis(5);

/// Where a configd keeps its files and listens, from one start to the next.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder with its data directory and its log.
    pub work: PathBuf,
    /// Its gRPC address.
    pub address: SocketAddr,
    admin: SocketAddr,
}

impl Place {
    /// A place on the loopback interface.
    ///
    /// # Errors
    /// As the system says.
    pub fn new(work: &Path) -> anyhow::Result<Self> {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
        Ok(Self {
            work: work.to_owned(),
            address: free()?,
            admin: free()?,
        })
    }

    /// The command that starts it; `before` goes in front, such as a tracer.
    #[must_use]
    pub fn command(&self, tidegate: &Path, before: &[String]) -> Command {
        let mut command = match before {
            [] => Command::new(tidegate),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(tidegate);
                command
            }
        };
        command.arg("configd").arg("--data-dir").arg(self.data());
        let (listen, admin) = (self.address.to_string(), self.admin.to_string());
        command.args(["--listen", &listen, "--admin", &admin, "--pool", POOL]);
        command
            .env_remove("TIDEGATE_DATA_DIR")
            .env_remove("RUST_LOG");
        command
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, tidegate: &Path) -> anyhow::Result<Process> {
        Process::start(&mut self.command(tidegate, &[]), &self.log())
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.work.join("data")
    }

    /// Where it logs.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.work.join("configd.log")
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// When it ends, or does not for too long; with the end of its log.
    pub async fn ready(&self, process: &mut Process) -> anyhow::Result<Client> {
        let client = Client::new(self.address);
        let end = Instant::now() + START;
        while let Err(status) = client.list("Gateway").await {
            if let Some(status) = process.ended() {
                bail!("configd ended ({status}): {}", self.last_words());
            }
            if Instant::now() > end {
                let text = self.last_words();
                bail!("configd does not answer: {}; {text}", status.message());
            }
            sleep(LOOK).await;
        }
        Ok(client)
    }

    fn last_words(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut last: Vec<_> = log.lines().rev().take(5).collect();
        last.reverse();
        last.join("\n")
    }
}

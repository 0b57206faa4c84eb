//! `tidegate up` as a process of its own, with a port for each backend.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::process::{Process, free_addresses, wait_for};
use crate::world;

/// A running gateway.
#[derive(Debug)]
pub struct Tidegate {
    /// Where it listens for each backend, in their order.
    pub ports: Vec<SocketAddr>,
    /// What is measured.
    pub process: Process,
    log: PathBuf,
}

/// A line of the access log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The address of the other end of the connection.
    pub client: String,
    /// The request's path, empty where there was no request.
    pub path: String,
    /// 0 where the client went away first.
    pub status: u16,
    /// Whether the request went to a backend.
    pub is_forwarded: bool,
}

impl Tidegate {
    /// Starts the command of the binary with its files below `dir`; `more` are further objects, and `threads` its data threads.
    ///
    /// # Errors
    /// When it does not come to serve.
    pub fn start(
        mut command: Command,
        dir: &Path,
        backends: &[SocketAddr],
        more: &[Value],
        threads: usize,
    ) -> anyhow::Result<Self> {
        let mut ports = free_addresses(backends.len() + 2)?;
        let own = ports.split_off(backends.len());
        let mut objects = world::objects(backends);
        for (index, port) in ports.iter().enumerate() {
            objects[1]["spec"]["listeners"][index]["port"] = json!(port.port());
        }
        objects.extend_from_slice(more);
        let mut text = String::new();
        for object in &objects {
            writeln!(text, "---\n{object}")?;
        }
        // In a folder of its own: this one is looked after for changes, and others grow all the time.
        let objects = dir.join("objects");
        std::fs::create_dir_all(&objects)?;
        let file = objects.join("objects.yaml");
        std::fs::write(&file, text)?;
        let log = dir.join("tidegate.log");
        command
            .arg("up")
            .arg(&file)
            .args(["--access-log", "--threads", &threads.to_string()])
            .args(["--listen", &own[0].to_string()])
            .args(["--admin", &own[1].to_string()]);
        let process = Process::start(&mut command, &log)?;
        for port in &ports {
            wait_for(*port, "tidegate").with_context(|| log.display().to_string())?;
        }
        Ok(Self {
            ports,
            process,
            log,
        })
    }

    /// The access log so far.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn logged(&self) -> anyhow::Result<Vec<Logged>> {
        let log = std::fs::read(&self.log)?;
        let log = String::from_utf8_lossy(&log);
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        Ok(lines.filter_map(|line| read(&line)).collect())
    }
}

fn read(line: &Value) -> Option<Logged> {
    let status = u16::try_from(line.get("status")?.as_u64()?).ok()?;
    Some(Logged {
        client: line.get("peer")?.as_str()?.to_owned(),
        path: line["path"].as_str().unwrap_or_default().to_owned(),
        status,
        is_forwarded: !line["endpoint"].is_null(),
    })
}

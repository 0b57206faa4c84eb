//! A worker as a process of its own.
#![allow(dead_code, reason = "each program of tests uses a part of it")]

use std::net::SocketAddr;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_ir::Snapshot;
use tidegate_proto::snapshots::v1::BoundListener;

use super::client::get;
use super::configd::{Configd, POOL};

/// Below those that the system gives out by itself (ip(7), `ip_local_port_range`), so that nobody else comes in between.
const PORTS_OF_TESTS: Range<u16> = 20_000..32_000;

/// A worker that is killed when it is dropped.
pub struct Process {
    pub child: Child,
    configd: Configd,
    admin: SocketAddr,
    listeners: Mutex<Vec<BoundListener>>,
}

impl Process {
    /// Starts a worker with one data thread, more flags, and an environment variable.
    pub async fn start(flags: &[&str], variable: Option<(&str, String)>) -> Self {
        let configd = Configd::start().await;
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-worker"));
        command
            .args(["--configd", &format!("http://{}", configd.address)])
            .args(["--pool", POOL, "--bind", "127.0.0.1"])
            .args(["--admin", &admin.to_string()])
            .args(["--drain-delay-s", "0", "--threads", "1"])
            .args(flags)
            .envs(variable)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self {
            child: command.spawn().unwrap(),
            configd,
            admin,
            listeners: Mutex::default(),
        }
    }

    /// Sends a snapshot that must be applied.
    pub async fn apply(&self, snapshot: &Snapshot) {
        let ack = self.configd.apply(snapshot).await;
        *self.listeners.lock().unwrap() = ack.listeners;
    }

    /// The address of a listener by its section name.
    pub fn address(&self, section: &str) -> SocketAddr {
        let suffix = format!("/{section}");
        let listeners = self.listeners.lock().unwrap();
        let found = listeners
            .iter()
            .find(|bound| bound.listener.ends_with(&suffix));
        found
            .expect("the listener is bound")
            .address
            .parse()
            .unwrap()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// The metrics as they are read.
    pub async fn metrics(&self) -> String {
        let answer = get(self.admin, "localhost", "/metrics").await;
        String::from_utf8(answer.into_body().to_vec()).unwrap()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.unwrap().split_whitespace().nth(1);
        number.unwrap().parse().unwrap()
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free for TCP and UDP, each time another one.
pub fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Another process of tests begins elsewhere.
    let begin = std::process::id() as usize * 64;
    let is_free = |port: &u16| {
        let address = SocketAddr::from(([127, 0, 0, 1], *port));
        std::net::TcpListener::bind(address).is_ok() && std::net::UdpSocket::bind(address).is_ok()
    };
    let candidates = PORTS_OF_TESTS.map(|_| {
        let next = begin + NEXT.fetch_add(1, Ordering::Relaxed);
        PORTS_OF_TESTS.start + (next % PORTS_OF_TESTS.len()) as u16
    });
    candidates.into_iter().find(is_free).expect("a free port")
}

/// The sum of a metric's series with these labels.
pub fn value_of(metrics: &str, name: &str, labels: &[&str]) -> u64 {
    let series = metrics.lines().filter(|line| line.starts_with(name));
    let series = series.filter(|line| labels.iter().all(|label| line.contains(label)));
    let values = series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.sum::<f64>() as u64
}

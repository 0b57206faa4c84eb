//! The binary as a child process whose lines are read as they come.

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) fn tidegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    // The user's settings are not the test's.
    command
        .env_remove("TIDEGATE_SERVER")
        .env_remove("TIDEGATE_DATA_DIR")
        .env_remove("RUST_LOG");
    command
}

/// Runs a command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    tidegate().args(args).output().unwrap()
}

/// A running child; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    stderr: Receiver<String>,
    /// Every line that was read.
    pub(crate) lines: Vec<String>,
}

impl Process {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = tidegate()
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = lines_of(child.stderr.take().unwrap());
        Self {
            child,
            stderr,
            lines: Vec::new(),
        }
    }

    /// The next line that has the text in it.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let line = self.next_line(end, text);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for a line with each of the texts, in any order.
    pub(crate) fn wait_for_all(&mut self, texts: &[&str]) {
        let end = Instant::now() + PATIENCE;
        let mut left = texts.to_vec();
        while let Some(text) = left.first() {
            let line = self.next_line(end, text);
            left.retain(|text| !line.contains(text));
        }
    }

    fn next_line(&mut self, end: Instant, text: &str) -> String {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(line) = self.stderr.recv_timeout(left) else {
            let lines = self.lines.join("\n");
            panic!("no line with \"{text}\" came; there were:\n{lines}");
        };
        self.lines.push(line.clone());
        line
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no chance to tidy up.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGINT, as Ctrl-C sends it; returns whether the process ended well.
    pub(crate) fn interrupt(&mut self) -> bool {
        let id = self.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &id])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(10_000);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A running `tidegate up` and what it printed about itself.
pub(crate) struct Up {
    pub(crate) process: Process,
    /// Name of the listener and port of its socket.
    ports: Vec<(String, u16)>,
    /// URL of the gRPC services.
    pub(crate) server: String,
    // Removed after the process, which is killed, has no chance to do it.
    _data: tempfile::TempDir,
}

impl Up {
    pub(crate) fn start(paths: &[&Path], more: &[&str]) -> Self {
        let fixed = [
            "up",
            "--any-ports",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ];
        let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        let data = tempfile::tempdir().unwrap();
        let mut args = [&fixed[..], more, &paths].concat();
        if !more.contains(&"--data-dir") {
            args.extend(["--data-dir", data.path().to_str().unwrap()]);
        }
        let mut process = Process::start(&args);
        let api = process.wait_for("api   ");
        let server = api.split_whitespace().nth(1).unwrap().to_owned();
        let ports = process
            .lines
            .iter()
            .filter_map(|line| listening(line))
            .collect();
        Self {
            process,
            ports,
            server,
            _data: data,
        }
    }

    pub(crate) fn port(&self, listener: &str) -> u16 {
        let found = self.ports.iter().find(|(name, _)| name == listener);
        found
            .unwrap_or_else(|| panic!("no listener {listener}: {:#?}", self.process.lines))
            .1
    }
}

/// `listening  http://localhost:8080  Gateway shop/web, listener http for *.example.com`
fn listening(line: &str) -> Option<(String, u16)> {
    let rest = line.strip_prefix("listening")?;
    let port = rest
        .split("localhost:")
        .nth(1)?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    let name = rest
        .split(", listener ")
        .nth(1)?
        .split_whitespace()
        .next()?;
    Some((name.to_owned(), port))
}

/// The folder of an example.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/examples")
        .join(name)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

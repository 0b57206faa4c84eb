//! Child processes: pinned to a core, measured, and ended by their id.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

/// A child that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `program` on one core, ahead of what else runs there; its output goes to `log`.
    pub(crate) fn start(
        core: usize,
        program: &Path,
        arguments: &[String],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new("nice");
        command
            .args(["-n", "-10", "taskset", "-c", &core.to_string()])
            .arg(program);
        Self::run(command, arguments, log)
    }

    /// Starts `program` on any core, as it comes; its output goes to `log`.
    pub(crate) fn start_anywhere(
        program: &Path,
        arguments: &[String],
        log: &Path,
    ) -> anyhow::Result<Self> {
        Self::run(Command::new(program), arguments, log)
    }

    fn run(mut command: Command, arguments: &[String], log: &Path) -> anyhow::Result<Self> {
        let log = fs::File::create(log)?;
        let name = command.get_program().display().to_string();
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child })
    }

    /// User and system time of all threads so far, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            sum += text
                .split(' ')
                .next()
                .and_then(|ns| ns.parse::<u64>().ok())
                .unwrap_or(0);
        }
        Ok(sum)
    }

    /// Memory in KiB, shared pages by their share.
    pub(crate) fn pss_kib(&self) -> anyhow::Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        number.context("no Pss")
    }

    /// Resident memory in KiB.
    pub(crate) fn rss_kib(&self) -> anyhow::Result<u64> {
        self.status_kib("VmRSS:")
    }
    /// The most that was resident since [`Self::forget_peak`], in KiB.
    pub(crate) fn peak_rss_kib(&self) -> anyhow::Result<u64> {
        self.status_kib("VmHWM:")
    }

    /// Counts the most that is resident anew.
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?;
        Ok(())
    }

    fn status_kib(&self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        number.with_context(|| format!("no {name}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pins this process, where backends and some of the load run, to a core.
pub(crate) fn pin_this(core: usize) {
    let pid = std::process::id().to_string();
    let commands = [
        Command::new("taskset")
            .args(["-a", "-p", "-c", &core.to_string(), &pid])
            .output(),
        Command::new("renice")
            .args(["-n", "-10", "-p", &pid])
            .output(),
    ];
    let done = |output: &std::io::Result<std::process::Output>| {
        output.as_ref().is_ok_and(|output| output.status.success())
    };
    if !commands.iter().all(done) {
        eprintln!("cannot pin this process to core {core}; the figures are noisier");
    }
}

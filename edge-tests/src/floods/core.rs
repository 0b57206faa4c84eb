//! Attackers on a processor of their own: what they compute is not what good clients wait for.

use std::ffi::OsStr;
use std::process::Command;

use rustix::process::nice;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The processor of attackers and of the backend that they ask. The gateway and good clients have all others, and this
/// one before them.
const CORE: usize = 1;

/// Moves the present thread to it.
pub fn leave_to_others() {
    let mut set = CpuSet::new();
    set.set(CORE);
    // Without it the figures of good clients are worse, nothing else.
    let _ = sched_setaffinity(None, &set);
    let _ = nice(19);
}

/// A command that will run on it.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19", "taskset", "-c", &CORE.to_string()]);
    command.arg(program);
    command
}

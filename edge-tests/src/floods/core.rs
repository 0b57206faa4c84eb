//! Whose turn it is on a machine that has everybody on it: what attackers compute is not what good clients wait for, and
//! good clients and their backend, which would have machines of their own, do not wait for the gateway's processor.

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

/// Has the present thread come before the gateway; it takes little.
pub fn come_first() {
    // Without it, as where the system does not allow it, the figures of good clients are worse, nothing else.
    let _ = nice(-20);
}

/// A command that comes before the gateway.
pub fn first_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "-20"]).arg(program);
    command
}

/// A command that will run on the attackers' processor.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19", "taskset", "-c", &CORE.to_string()]);
    command.arg(program);
    command
}

//! Whose turn it is on a machine that has everybody on it: what attackers compute is not what good clients wait for, and
//! good clients and their backend, which would have machines of their own, do not wait for the gateway's processor.

use std::ffi::OsStr;
use std::process::Command;

use rustix::thread::{CpuSet, gettid, sched_setaffinity};

/// The processor of attackers and of the backend that they ask. The gateway and good clients have all others, and this
/// one before them.
const CORE: usize = 1;

/// Only while nobody else wants the processor: a low priority alone would not be interrupted for milliseconds.
const LAST: [&str; 2] = ["--idle", "0"];

/// At once, whoever is there.
const FIRST: [&str; 2] = ["--rr", "1"];

/// Moves the present thread to it, and those that it will start.
pub fn leave_to_others() {
    let mut set = CpuSet::new();
    set.set(CORE);
    // Without it the figures of good clients are worse, nothing else.
    let _ = sched_setaffinity(None, &set);
    reschedule(LAST);
}

/// Has the present thread come before the gateway, on any processor, and those that it will start; they take little.
pub fn come_first() {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
    let _ = sched_setaffinity(None, &all);
    reschedule(FIRST);
}

/// A command that will run on the attackers' processor.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("chrt");
    command.args(LAST);
    command.args(["taskset", "-c", &CORE.to_string()]);
    command.arg(program);
    command
}

/// A command that comes before the gateway.
pub fn first_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("chrt");
    command.args(FIRST).arg(program);
    command
}

fn reschedule([policy, priority]: [&str; 2]) {
    let thread = gettid().as_raw_nonzero().to_string();
    let command = ["chrt", policy, "--pid", priority, &thread];
    // Where the system does not allow it, the figures of good clients are worse, nothing else.
    let _ = Command::new(command[0]).args(&command[1..]).output();
}

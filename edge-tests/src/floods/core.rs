//! Which processor is whose, on a machine that has everybody on it: attackers and the backend that they ask have one, and the
//! site has the other. A low priority would not do: a kernel without preemption lets a system call of an attacker go on for
//! milliseconds, whoever waits for the processor.

use std::ffi::OsStr;
use std::process::Command;

use rustix::thread::{CpuSet, gettid, sched_setaffinity};

/// The processor of the gateway, of good clients and of their backend.
const SITE: usize = 0;

/// The processor of attackers, and of the backend that they ask.
const OUTSIDE: usize = 1;

/// Before all others, whoever is there: good clients and their backend would have machines of their own, and do not wait
/// for the gateway's processor. They take little.
const FIRST: [&str; 2] = ["--rr", "1"];

/// Moves the present thread to the attackers' processor, and those that it will start.
pub fn leave_to_others() {
    pin(OUTSIDE);
}

/// Moves the present thread to the site's processor, and those that it will start, to come before the gateway.
pub fn come_first() {
    pin(SITE);
    let [policy, priority] = FIRST;
    let thread = gettid().as_raw_nonzero().to_string();
    // Where the system does not allow it, the figures of good clients are worse, nothing else.
    let _ = Command::new("chrt")
        .args([policy, "--pid", priority, &thread])
        .output();
}

/// A command that will run on the attackers' processor.
pub fn outside(program: impl AsRef<OsStr>) -> Command {
    on(OUTSIDE, program)
}

/// A command that will run on the site's processor.
pub fn on_site(program: impl AsRef<OsStr>) -> Command {
    on(SITE, program)
}

/// The same, to come before the gateway.
pub fn first_on_site(program: impl AsRef<OsStr>) -> Command {
    let mut command = on(SITE, "chrt");
    command.args(FIRST).arg(program);
    command
}

fn on(core: usize, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // Without it the figures of good clients are worse, nothing else.
    let _ = sched_setaffinity(None, &set);
}

//! The process's descriptors: as many as it may have, and room for them from the start.

use std::fs::File;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors that there is room for at most, in half a megabyte of the kernel's memory.
const RESERVED_MAX: u64 = 1 << 16;

/// How many descriptors the process may have (getrlimit(2), `RLIMIT_NOFILE`); `None` for no bound.
#[must_use]
pub fn most() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises the bound of descriptors to what the process may raise it to, and makes room for up to 65,536 of them.
///
/// The usual bound, 1,024, is that of select(2), which nothing here calls.
///
/// The kernel doubles the table when it is full, and where threads share it, it waits until all processors have let go
/// of the old one: 10 to 20 ms in which no thread of the process gets a descriptor, so that no connection is accepted.
/// To be called before there are threads, when nothing waits. Where it fails, the table grows as it would have.
pub fn reserve() {
    raise();
    let last = most()
        .map_or(RESERVED_MAX, |most| most.min(RESERVED_MAX))
        .saturating_sub(1);
    let Ok(last) = i32::try_from(last) else {
        return;
    };
    // The table never shrinks, so the descriptor itself can go.
    let _ = File::open("/dev/null").map(|any| fcntl_dupfd_cloexec(any, last));
}

/// What is refused leaves the bound as it was.
fn raise() {
    let mut bound = getrlimit(Resource::Nofile);
    bound.current = bound.maximum;
    let _ = setrlimit(Resource::Nofile, bound);
}

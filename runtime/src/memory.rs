//! The process's memory: how it comes, how much there is, and how it is given back.

mod allocator;

use std::fs;
use std::time::Duration;

pub use allocator::Allocator;

use crate::tasks::Tasks;

/// How often what is free is given back.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(1);

/// Has memory come in pages of the usual size. A huge one is cleared while somebody waits for it, which takes up to five
/// milliseconds on a virtual machine, and keeps memory that is not used.
///
/// To be called first of all in a process. Where the system does not know the setting (prctl(2),
/// `PR_SET_THP_DISABLE`), nothing changes.
pub fn refuse_huge_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// The process's resident memory in bytes (proc(5), `VmRSS`); `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let resident = lines.find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Gives back what is free from now on, until the runtime ends. By itself the allocator does that only when it needs memory,
/// which a process that is idle, or takes no new work because it has too much already, never does.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn give_back_regularly() {
    // Outside of a drain's tasks: nobody waits for its end.
    Tasks::new().spawn("memory", async {
        loop {
            tokio::time::sleep(GIVE_BACK_INTERVAL).await;
            allocator::give_back();
        }
    });
}

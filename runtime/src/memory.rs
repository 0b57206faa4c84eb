//! How the process wants its memory.

/// Has memory come in pages of the usual size. A huge one is cleared while somebody waits for it, which takes up to five
/// milliseconds on a virtual machine, and keeps memory that is not used.
///
/// To be called first of all in a process. Where the system does not know the setting (prctl(2),
/// `PR_SET_THP_DISABLE`), nothing changes.
pub fn refuse_huge_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

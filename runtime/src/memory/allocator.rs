//! The allocator of the binaries, which can be told to give memory back to the system.

#![expect(
    unsafe_code,
    reason = "the allocator's crate has no safe call that gives memory back"
)]

use libmimalloc_sys::mi_collect;
pub use mimalloc::MiMalloc as Allocator;

/// Gives the pages back to the system that have been free for a second, whichever thread has freed them. Takes some tens of
/// microseconds where there is nothing to give.
pub(super) fn give_back() {
    // SAFETY: it may be called at any time by any thread, and touches only memory that nobody has.
    unsafe { mi_collect(false) }
}

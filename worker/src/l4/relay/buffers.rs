//! Buffers for bytes that are copied, lent for as long as bytes are in them.

use std::cell::RefCell;

/// Bytes of a buffer.
pub(super) const BUFFER_BYTES: usize = 16 << 10;

/// Unused buffers that a thread keeps; others go back to the system.
const UNUSED_MAX: usize = 64;

/// The buffers of one thread.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    unused: RefCell<Vec<Box<[u8]>>>,
}

impl Buffers {
    pub(super) fn take(&self) -> Box<[u8]> {
        let unused = self.unused.borrow_mut().pop();
        unused.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
    }

    pub(super) fn put(&self, buffer: Box<[u8]>) {
        let mut unused = self.unused.borrow_mut();
        if unused.len() < UNUSED_MAX {
            unused.push(buffer);
        }
    }
}

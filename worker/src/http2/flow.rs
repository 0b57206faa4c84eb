//! What a connection and its streams know of each other: bytes and frames that went by.

use std::cell::{Cell, RefCell};

use tidegate_codec::http2::FrameHead;

use super::counts::Counts;
use crate::limits::Limits;
use crate::listen::ended::Ended;

/// Bytes of the content of a frame, usually.
const FRAME_BYTES: usize = 16 << 10;

/// The traffic of one connection.
#[derive(Debug)]
pub(super) struct Flow {
    counts: RefCell<Counts>,
    /// Bytes that came from the client, of all frames.
    read: Cell<u64>,
    /// Bytes of content that were taken since the last sample.
    taken: Cell<u64>,
    /// The bound that the client went beyond.
    excess: Cell<Option<Ended>>,
}

impl Flow {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            counts: RefCell::new(Counts::new(limits)),
            read: Cell::new(0),
            taken: Cell::new(0),
            excess: Cell::new(None),
        }
    }

    /// So many bytes came, of whatever kind.
    pub(super) fn read(&self, len: usize) {
        self.read.set(self.read.get() + len as u64);
    }

    pub(super) fn frame(&self, head: FrameHead) {
        self.note(self.counts.borrow_mut().frame(head));
    }

    pub(super) fn request(&self) {
        self.counts.borrow_mut().request();
    }

    /// A request was reset before its answer began.
    pub(super) fn cancelled(&self) {
        self.note(self.counts.borrow_mut().cancelled());
    }

    /// So many bytes of content were taken.
    pub(super) fn taken(&self, len: usize) {
        self.taken.set(self.taken.get() + len as u64);
    }

    /// So many bytes of content go to the client.
    pub(super) fn sent(&self, len: usize) {
        let frames = len.div_ceil(FRAME_BYTES) as u64;
        self.counts.borrow_mut().sent(frames);
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.read.get()
    }

    /// Bytes of content that were taken since this was asked last.
    pub(super) fn take_sample(&self) -> u64 {
        self.taken.take()
    }

    pub(super) fn has_sample(&self) -> bool {
        self.taken.get() > 0
    }

    /// The bound that the client went beyond, if it did.
    pub(super) fn excess(&self) -> Option<Ended> {
        self.excess.get()
    }

    fn note(&self, excess: Option<Ended>) {
        if excess.is_some() {
            self.excess.set(excess);
        }
    }
}

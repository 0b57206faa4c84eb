//! The configds that a worker may follow: one at a time, another one when that is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tonic::transport::Channel;

/// Ways to the replicas of one configd; at least one. Clones share which is next.
#[derive(Debug, Clone)]
pub struct Configds {
    channels: Arc<[Channel]>,
    next: Arc<AtomicUsize>,
}

impl Configds {
    /// Replicas to go round, beginning at one that depends on the worker's name, so that a pool spreads over them.
    /// `None` without any.
    pub fn new(channels: Vec<Channel>, worker: &str) -> Option<Self> {
        let start = worker.bytes().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        let next = start.checked_rem(channels.len())?;
        Some(Self {
            channels: channels.into(),
            next: Arc::new(AtomicUsize::new(next)),
        })
    }

    /// The replica for the next session.
    pub(crate) fn take_next(&self) -> Channel {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.channels[next % self.channels.len()].clone()
    }
}

impl From<Channel> for Configds {
    fn from(channel: Channel) -> Self {
        Self {
            channels: Arc::new([channel]),
            next: Arc::default(),
        }
    }
}

//! Bounds on what one worker gives a backend, shared by all threads.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidegate_ir::ConnectionLimits;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::error::ProxyError;

/// Requests that may wait for a connection where nobody says otherwise.
const PENDING_REQUESTS_MAX: u32 = 1_024;

/// Counts requests and connections of one backend against its bounds.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: ConnectionLimits,
    requests: AtomicU32,
    connections: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
    /// How many unused connections should make room.
    rooms_wanted: AtomicU32,
    wanted: Notify,
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Admitted(Arc<Gate>);

/// An open connection.
#[derive(Debug)]
pub(super) struct Opened(Arc<Gate>);

struct Waiting<'g>(&'g Gate);

impl Gate {
    pub(super) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            requests: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            freed: Notify::new(),
            rooms_wanted: AtomicU32::new(0),
            wanted: Notify::new(),
        })
    }

    pub(super) fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    /// # Errors
    /// When as many requests are in flight as may be.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Admitted, ProxyError> {
        take(&self.requests, self.limits.requests).ok_or(ProxyError::Overloaded)?;
        Ok(Admitted(self.clone()))
    }

    /// `None` while as many connections are open as may be.
    pub(super) fn open(self: &Arc<Self>) -> Option<Opened> {
        take(&self.connections, self.limits.connections)?;
        Some(Opened(self.clone()))
    }

    /// Waits until a connection may be free; others may be faster, so look again.
    ///
    /// # Errors
    /// When too many requests wait already, or after `timeout`.
    pub(super) async fn wait(&self, timeout: Duration) -> Result<(), ProxyError> {
        let most = self.limits.pending_requests.unwrap_or(PENDING_REQUESTS_MAX);
        take(&self.waiting, Some(most)).ok_or(ProxyError::Overloaded)?;
        let _waiting = Waiting(self);
        // Unused connections of other endpoints and threads hold places, too.
        self.rooms_wanted.fetch_add(1, Ordering::AcqRel);
        self.wanted.notify_waiters();
        let freed = tokio::time::timeout(timeout, self.freed.notified()).await;
        freed.map_err(|_| ProxyError::Overloaded)
    }

    /// Runs a connection to its end, with its output; to an earlier one, with `None`, where it is unused
    /// while a request waits for room.
    pub(super) async fn run<F: Future>(
        &self,
        connection: F,
        is_unused: impl Fn() -> bool,
    ) -> Option<F::Output> {
        let mut connection = pin!(connection);
        let mut wanted = pin!(self.wanted.notified());
        loop {
            tokio::select! {
                output = &mut connection => return Some(output),
                () = &mut wanted => {
                    // Before the check, so that no later wish is missed.
                    wanted.set(self.wanted.notified());
                    if is_unused() && self.makes_room() {
                        return None;
                    }
                }
            }
        }
    }

    /// Ready when requests wait for room; look then whether it is still wanted.
    pub(super) fn room_wanted(&self) -> Notified<'_> {
        self.wanted.notified()
    }

    /// Takes the wish of one request for room: whoever takes it closes an unused connection.
    pub(super) fn makes_room(&self) -> bool {
        let less = |wanted: u32| wanted.checked_sub(1);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let taken = self.rooms_wanted.fetch_update(order.0, order.1, less);
        taken.is_ok()
    }

    /// Whether an unused connection should rather make room for those that wait.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }
}

impl Opened {
    pub(super) fn gate(&self) -> &Gate {
        &self.0
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.rooms_wanted.store(0, Ordering::Release);
        }
    }
}

/// Counts one up unless the bound is reached.
fn take(count: &AtomicU32, most: Option<u32>) -> Option<()> {
    let more = |now: u32| {
        most.is_none_or(|most| now < most)
            .then(|| now.saturating_add(1))
    };
    let taken = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    taken.is_ok().then_some(())
}

//! What the threads that serve one UDP port know in common: whether new flows may begin, and how many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

/// The port serves new flows.
const SERVING: u64 = 0;

/// Only the flows that are there go on.
const DRAINING: u64 = 1 << 62;

/// The port's sockets are closed; that is final.
const CLOSED: u64 = 1 << 63;

const STATES: u64 = DRAINING | CLOSED;

/// The life of a UDP port. All of its sockets close at once, when the last flow of a draining port has ended: the
/// kernel spreads clients over the sockets, and one socket less would move clients away from their flows.
#[derive(Debug, Default)]
pub(crate) struct UdpPort {
    /// The state, and in the bits below the number of flows.
    state: AtomicU64,
    closed: CancellationToken,
}

/// A flow of a port, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Entered(Arc<UdpPort>);

impl UdpPort {
    /// From now on no flow begins; the port closes with its last one.
    pub(crate) fn drain(&self) {
        let serving = |state: u64| (state & STATES == SERVING).then_some(state | DRAINING);
        // One that drains or is closed already stays so.
        let _ = self.update(serving);
        self.close_if_unused();
    }

    /// Flows may begin again; `false` where the port is closed.
    pub(crate) fn revive(&self) -> bool {
        self.update(|state| (state & CLOSED == 0).then_some(state & !DRAINING))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Waits for the port's end.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Counts a new flow; `None` where none may begin.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Entered> {
        let counted = self.update(|state| (state & STATES == SERVING).then_some(state + 1));
        counted.then(|| Entered(self.clone()))
    }

    fn close_if_unused(&self) {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        if self
            .state
            .compare_exchange(DRAINING, CLOSED, success, failure)
            .is_ok()
        {
            self.closed.cancel();
        }
    }

    fn update(&self, next: impl FnMut(u64) -> Option<u64>) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        self.state.fetch_update(success, failure, next).is_ok()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.state.fetch_sub(1, Ordering::AcqRel);
        self.0.close_if_unused();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_port_closes_with_its_last_flow() {
        let port = Arc::new(UdpPort::default());
        let flows = [port.enter(), port.enter()].map(Option::unwrap);
        port.drain();
        assert!(port.enter().is_none());
        let [first, last] = flows;
        drop(first);
        assert!(!port.is_closed());
        drop(last);
        assert!(port.is_closed() && port.closed.is_cancelled());
        assert!(!port.revive() && port.enter().is_none());
    }

    #[test]
    fn a_draining_port_that_is_wanted_again_serves_on() {
        let port = Arc::new(UdpPort::default());
        let flow = port.enter().unwrap();
        port.drain();
        assert!(port.revive());
        drop(flow);
        assert!(!port.is_closed() && port.enter().is_some());
    }

    #[test]
    fn a_port_without_flows_closes_at_once() {
        let port = UdpPort::default();
        port.drain();
        assert!(port.is_closed());
    }
}

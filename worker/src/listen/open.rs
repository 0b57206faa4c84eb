//! How many connections are open, over all threads: to each port, and of each client there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ended::Ended;

/// The open connections. Each table has open connections only, or one entry per port, and so has their bound.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections {
    ports: Mutex<HashMap<u16, PortCount>>,
    clients: Mutex<HashMap<(u16, IpAddr), usize>>,
}

/// How many connections a port has.
#[derive(Debug, Clone, Default)]
pub(super) struct PortCount(Arc<AtomicUsize>);

/// One connection to a port; dropping it counts it off.
#[derive(Debug)]
pub(super) struct OfPort(PortCount);

/// One connection of a client; dropping it counts it off.
#[derive(Debug)]
pub(super) struct OfClient {
    all: Arc<OpenConnections>,
    place: (u16, IpAddr),
}

impl OpenConnections {
    /// The count of a port.
    pub(super) fn port(&self, bind_port: u16) -> PortCount {
        let ports = self.ports.lock();
        let mut ports = ports.unwrap_or_else(PoisonError::into_inner);
        ports.entry(bind_port).or_default().clone()
    }

    /// Counts a connection of a client to a port, if there is a bound; an error where it has as many as it may.
    pub(super) fn enter_client(
        self: &Arc<Self>,
        bind_port: u16,
        address: IpAddr,
        max: Option<usize>,
    ) -> Result<Option<OfClient>, Ended> {
        let Some(max) = max else { return Ok(None) };
        let place = (bind_port, address.to_canonical());
        let mut clients = self.lock_clients();
        let count = clients.entry(place).or_default();
        if *count >= max {
            if max == 0 {
                clients.remove(&place);
            }
            return Err(Ended::TooManyOfClient);
        }
        *count += 1;
        let all = self.clone();
        Ok(Some(OfClient { all, place }))
    }

    fn lock_clients(&self) -> MutexGuard<'_, HashMap<(u16, IpAddr), usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PortCount {
    /// Counts a connection; an error where the port has as many as it may.
    pub(super) fn enter(&self, max: usize) -> Result<OfPort, Ended> {
        let entered = OfPort(self.clone());
        if self.0.fetch_add(1, Ordering::Relaxed) < max {
            Ok(entered)
        } else {
            Err(Ended::TooManyOfPort)
        }
    }
}

impl Drop for OfPort {
    fn drop(&mut self) {
        let PortCount(count) = &self.0;
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for OfClient {
    fn drop(&mut self) {
        let mut clients = self.all.lock_clients();
        if let Entry::Occupied(mut count) = clients.entry(self.place) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_own_count_on_each_port_and_leaves_nothing_behind() {
        let open = Arc::new(OpenConnections::default());
        let [a, b]: [IpAddr; 2] =
            ["192.0.2.1", "::ffff:192.0.2.2"].map(|text| text.parse().expect("an address"));
        let enter = |port, address| open.enter_client(port, address, Some(2));
        let held = [enter(80, a), enter(80, a)];
        assert!(held.iter().all(Result::is_ok));
        assert!(matches!(enter(80, a), Err(Ended::TooManyOfClient)));
        assert!(enter(80, b).is_ok());
        assert!(enter(443, a).is_ok());
        drop(held);
        assert!(enter(80, a).is_ok());
        assert!(open.lock_clients().is_empty());
    }

    #[test]
    fn threads_share_the_count_of_a_port() {
        let open = OpenConnections::default();
        let (one, other) = (open.port(80), open.port(80));
        let held = [one.enter(2), other.enter(2)];
        assert!(held.iter().all(Result::is_ok));
        assert!(matches!(one.enter(2), Err(Ended::TooManyOfPort)));
        assert!(open.port(443).enter(1).is_ok());
        drop(held);
        assert!(other.enter(1).is_ok());
    }
}

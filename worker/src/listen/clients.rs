//! How many connections each client has, over all threads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The connections of clients by their address; the table holds open connections only, and so has their bound.
#[derive(Debug)]
pub(crate) struct Clients {
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection; dropping it counts it off.
#[derive(Debug)]
pub(super) struct OfClient {
    clients: Arc<Clients>,
    address: IpAddr,
}

impl Clients {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            open: Mutex::default(),
        })
    }

    /// Counts a connection; `None` where its client has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<OfClient> {
        let address = address.to_canonical();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        let clients = self.clone();
        Some(OfClient { clients, address })
    }
}

impl Drop for OfClient {
    fn drop(&mut self) {
        let open = self.clients.open.lock();
        let mut open = open.unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = open.entry(self.address) {
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
    fn a_client_has_its_own_count_and_leaves_nothing_behind() {
        let clients = Clients::new(2);
        let [a, b]: [IpAddr; 2] =
            ["192.0.2.1", "::ffff:192.0.2.2"].map(|text| text.parse().expect("an address"));
        let held = [clients.enter(a), clients.enter(a)];
        assert!(held.iter().all(Option::is_some));
        assert!(clients.enter(a).is_none());
        assert!(clients.enter(b).is_some());
        drop(held);
        assert!(clients.enter(a).is_some());
        assert!(clients.open.lock().expect("nobody panicked").is_empty());
    }
}

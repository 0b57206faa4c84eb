//! Which endpoint of a backend gets the next request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_ir::{Backend, EndpointSet};

/// A backend with its endpoints, in turn.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) backend: Backend,
    /// Those that take new work; the draining ones where there are no others.
    addresses: Vec<SocketAddr>,
    turn: AtomicUsize,
}

impl Upstream {
    pub(crate) fn new(backend: Backend, endpoints: &EndpointSet) -> Self {
        let of = |draining: bool| {
            let wanted = endpoints
                .endpoints
                .iter()
                .filter(|e| e.draining == draining);
            wanted.map(|endpoint| endpoint.address).collect::<Vec<_>>()
        };
        let fresh = of(false);
        let addresses = if fresh.is_empty() { of(true) } else { fresh };
        Self {
            backend,
            addresses,
            turn: AtomicUsize::new(0),
        }
    }

    /// At most `count` different endpoints, starting with the one whose turn it is.
    pub(crate) fn next(&self, count: usize) -> impl Iterator<Item = SocketAddr> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = count.min(self.addresses.len());
        (0..count).map(move |step| self.addresses[first.wrapping_add(step) % self.addresses.len()])
    }
}

#[cfg(test)]
mod tests {
    use tidegate_ir::{Endpoint, ObjectName};

    use super::*;

    fn upstream(ports: &[(u16, bool)]) -> Upstream {
        let endpoints = ports.iter().map(|(port, draining)| Endpoint {
            address: SocketAddr::from(([127, 0, 0, 1], *port)),
            draining: *draining,
        });
        let endpoints = EndpointSet {
            name: "e".into(),
            endpoints: endpoints.collect(),
        };
        let backend = Backend::of_service("e", ObjectName::new("ns", "svc"), 80);
        Upstream::new(backend, &endpoints)
    }

    fn ports(upstream: &Upstream, count: usize) -> Vec<u16> {
        upstream.next(count).map(|address| address.port()).collect()
    }

    #[test]
    fn endpoints_take_turns_and_retries_go_to_others() {
        let upstream = upstream(&[(1, false), (2, false)]);
        assert_eq!(ports(&upstream, 3), [1, 2]);
        assert_eq!(ports(&upstream, 3), [2, 1]);
    }

    #[test]
    fn draining_endpoints_are_the_last_resort() {
        assert_eq!(ports(&upstream(&[(1, true), (2, false)]), 3), [2]);
        assert_eq!(ports(&upstream(&[(1, true)]), 3), [1]);
        assert!(ports(&upstream(&[]), 3).is_empty());
    }
}

//! A ring of hashes: equal keys lead to equal endpoints, and few keys move when an endpoint comes or goes.

use std::net::SocketAddr;

use tidegate_ir::Digest;

/// Points that each endpoint has on the ring: enough for shares within a few per cent.
const POINTS_PER_ENDPOINT: u32 = 160;

/// Endpoints that get all their points; with more of them, each gets fewer.
const POINTS_MAX: u32 = 65_536;

/// Endpoints on a ring.
#[derive(Debug)]
pub(super) struct Ring {
    /// Hash and place of the endpoint, ordered.
    points: Vec<(u64, u32)>,
}

impl Ring {
    pub(super) fn new(addresses: impl ExactSizeIterator<Item = SocketAddr>) -> Self {
        let endpoints = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let each = (POINTS_MAX / endpoints).clamp(1, POINTS_PER_ENDPOINT);
        let points = addresses.zip(0..).flat_map(|(address, place)| {
            (0..each).map(move |point| (hash(format!("{address}#{point}").as_bytes()), place))
        });
        let mut points: Vec<_> = points.collect();
        points.sort_unstable();
        Self { points }
    }

    /// Place of the endpoint that a hash leads to; 0 on an empty ring.
    pub(super) fn place(&self, hash: u64) -> usize {
        let next = self.points.partition_point(|(point, _)| *point < hash);
        let point = self.points.get(next).or_else(|| self.points.first());
        point.map_or(0, |(_, place)| *place as usize)
    }
}

/// The hash that all workers agree on.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let digest = Digest::of(bytes);
    let first = digest.as_bytes()[..8].try_into();
    u64::from_be_bytes(first.expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ports: std::ops::Range<u16>) -> Ring {
        let addresses: Vec<_> = ports
            .map(|port| SocketAddr::from(([10, 0, 0, 1], port)))
            .collect();
        Ring::new(addresses.into_iter())
    }

    #[test]
    fn few_keys_move_when_an_endpoint_comes() {
        let (before, after) = (ring(1..11), ring(1..12));
        let keys = 10_000_u64;
        let moved = (0..keys).filter(|key| {
            let hash = hash(&key.to_be_bytes());
            before.place(hash) != after.place(hash)
        });
        let moved = moved.count();
        assert!((600..1_300).contains(&moved), "{moved} of {keys} moved");
    }

    #[test]
    fn keys_are_spread_over_all_endpoints() {
        let ring = ring(1..11);
        let mut shares = [0; 10];
        for key in 0..10_000_u64 {
            shares[ring.place(hash(&key.to_be_bytes()))] += 1;
        }
        assert!(
            shares.iter().all(|share| (700..1_400).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn a_key_of_an_endpoint_that_stays_does_not_move_when_another_goes() {
        let (before, after) = (ring(1..11), ring(1..10));
        for key in 0..1_000_u64 {
            let hash = hash(&key.to_be_bytes());
            let place = before.place(hash);
            assert!(place == 9 || place == after.place(hash));
        }
    }
}

//! The endpoints of a backend at one time, and the order in which a request tries them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tidegate_ir::{Balancing, Digest, PartName};

use super::endpoint::{Endpoint, now_ms};
use super::ring::Ring;

/// The endpoints of a backend at one time.
#[derive(Debug)]
pub(crate) struct Members {
    backend: PartName,
    /// Those that take new work: the draining ones only where there are no others.
    active: Vec<Arc<Endpoint>>,
    /// Those that only sessions still reach.
    draining: Vec<Arc<Endpoint>>,
    ring: Option<Ring>,
    /// When the last ejection ends; 0 if there never was one, so that no clock is read.
    ejected_until_ms: AtomicU64,
    tokens: OnceLock<HashMap<Box<str>, Arc<Endpoint>>>,
}

/// What a request wants of the choice of its endpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// The endpoint of its session.
    pub(crate) pinned: Option<Arc<Endpoint>>,
    /// What ring hashing goes by; without it the turn decides.
    pub(crate) hash: Option<u64>,
}

/// Different endpoints in the order in which a request tries them.
#[derive(Debug)]
pub(crate) struct Candidates {
    members: Arc<Members>,
    pinned: Option<Arc<Endpoint>>,
    first: usize,
    step: usize,
    left: usize,
    /// When ejections count: the time to compare with.
    now_ms: Option<u64>,
    given: Option<SocketAddr>,
}

impl Members {
    /// Endpoints that stay keep what is known about them.
    pub(super) fn new(
        backend: PartName,
        balancing: &Balancing,
        addresses: impl Iterator<Item = (SocketAddr, bool)>,
        previous: Option<&Self>,
    ) -> Self {
        let known: HashMap<SocketAddr, &Arc<Endpoint>> = previous
            .into_iter()
            .flat_map(|previous| previous.active.iter().chain(&previous.draining))
            .map(|endpoint| (endpoint.address, endpoint))
            .collect();
        let (mut active, mut draining) = (vec![], vec![]);
        for (address, drains) in addresses {
            let known = known.get(&address).copied().cloned();
            let endpoint = known.unwrap_or_else(|| Arc::new(Endpoint::new(address)));
            if drains { &mut draining } else { &mut active }.push(endpoint);
        }
        if active.is_empty() {
            active = std::mem::take(&mut draining);
        }
        let ring = matches!(balancing, Balancing::RingHash(_));
        let ring = ring.then(|| Ring::new(active.iter().map(|endpoint| endpoint.address)));
        let until = previous.map_or(0, |p| p.ejected_until_ms.load(Ordering::Relaxed));
        Self {
            backend,
            active,
            draining,
            ring,
            ejected_until_ms: AtomicU64::new(until),
            tokens: OnceLock::new(),
        }
    }

    /// At most `count` endpoints for a request whose turn is `turn`; ejected ones are left out unless
    /// less than `panic_percent` of all would be left.
    pub(super) fn candidates(
        self: &Arc<Self>,
        wish: Wish,
        turn: usize,
        balancing: &Balancing,
        panic_percent: u8,
        count: usize,
    ) -> Candidates {
        let len = self.active.len().max(1);
        let first = match (balancing, wish.hash, &self.ring) {
            (Balancing::RingHash(_), Some(hash), Some(ring)) => ring.place(hash),
            (Balancing::LeastRequest, ..) => self.less_busy(turn),
            _ => turn % len,
        };
        Candidates {
            members: self.clone(),
            pinned: wish.pinned,
            first,
            step: 0,
            left: count,
            now_ms: self.heeds_ejections(panic_percent),
            given: None,
        }
    }

    /// The time where ejections count.
    fn heeds_ejections(&self, panic_percent: u8) -> Option<u64> {
        let until = self.ejected_until_ms.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        let now_ms = now_ms();
        if until <= now_ms {
            return None;
        }
        let ejected = self.ejected(now_ms);
        let healthy = self.active.len() - ejected;
        let panics = healthy == 0 || healthy * 100 < self.active.len() * usize::from(panic_percent);
        (!panics).then_some(now_ms)
    }

    /// How many endpoints are ejected.
    pub(super) fn ejected(&self, now_ms: u64) -> usize {
        let ejected = self.active.iter().filter(|e| e.is_ejected(now_ms));
        ejected.count()
    }

    pub(super) fn has(&self, address: SocketAddr) -> bool {
        let mut endpoints = self.active.iter().chain(&self.draining);
        endpoints.any(|endpoint| endpoint.address == address)
    }

    pub(super) fn len(&self) -> usize {
        self.active.len()
    }

    /// Notes that an endpoint is ejected until then.
    pub(super) fn note_ejection(&self, until_ms: u64) {
        self.ejected_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    /// The place of the less busy one of two different endpoints drawn by the turn.
    fn less_busy(&self, turn: usize) -> usize {
        let len = self.active.len();
        if len < 2 {
            return 0;
        }
        let drawn = mix(turn as u64);
        let one = drawn as usize % len;
        // Drawn from the others, so that of two endpoints the busy one never gets the request.
        let other = (one + 1 + (drawn >> 32) as usize % (len - 1)) % len;
        let busy = |place: usize| {
            let endpoint = self.active.get(place);
            endpoint.map_or(0, |endpoint| endpoint.in_flight.load(Ordering::Relaxed))
        };
        if busy(other) < busy(one) { other } else { one }
    }

    /// The endpoint that a session's token stands for; a draining one still serves its sessions.
    pub(crate) fn by_token(&self, token: &str) -> Option<Arc<Endpoint>> {
        let tokens = self.tokens.get_or_init(|| {
            let endpoints = self.active.iter().chain(&self.draining);
            let tokens = endpoints.map(|e| (token_of(&self.backend, e.address), e.clone()));
            tokens.collect()
        });
        tokens.get(token).cloned()
    }
}

impl Iterator for Candidates {
    type Item = Arc<Endpoint>;

    fn next(&mut self) -> Option<Arc<Endpoint>> {
        if self.left == 0 {
            return None;
        }
        if let Some(pinned) = self.pinned.take()
            && self.now_ms.is_none_or(|now_ms| !pinned.is_ejected(now_ms))
        {
            self.left -= 1;
            self.given = Some(pinned.address);
            return Some(pinned);
        }
        let active = &self.members.active;
        while self.step < active.len() {
            let endpoint = &active[(self.first + self.step) % active.len()];
            self.step += 1;
            let ejected = self
                .now_ms
                .is_some_and(|now_ms| endpoint.is_ejected(now_ms));
            if !ejected && self.given != Some(endpoint.address) {
                self.left -= 1;
                return Some(endpoint.clone());
            }
        }
        None
    }
}

/// A token that stands for an endpoint of a backend. All workers agree on it, it does not show the
/// address, and one that stands for no current endpoint leads nowhere.
pub(crate) fn token_of(backend: &PartName, address: SocketAddr) -> Box<str> {
    let digest = Digest::of(format!("session {backend} {address}").as_bytes());
    digest.to_string()[..32].into()
}

/// Spreads consecutive numbers over all bits (SplitMix64's finalizer).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

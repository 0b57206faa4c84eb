//! The flows of one thread: found by client and place, bounded, ordered by their last datagram.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use slab::Slab;

/// No entry: the end of a list.
const NONE: usize = usize::MAX;

/// What tells flows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FlowKey {
    /// Number of the port on this thread.
    pub(super) port: usize,
    pub(super) client: SocketAddr,
    /// To which of our addresses the client sends; `None` where the socket has but one.
    pub(super) local: Option<IpAddr>,
}

/// Stands for a flow as long as it is there, and for none after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlowId {
    pub(super) index: u32,
    pub(super) stamp: u32,
}

/// A bounded table of flows, each with a list per port from the one that was idle longest to the newest.
#[derive(Debug)]
pub(super) struct Flows<F> {
    max: usize,
    places: HashMap<FlowKey, usize>,
    entries: Slab<Entry<F>>,
    /// By the number of the port.
    lists: Vec<List>,
    stamp: u32,
}

#[derive(Debug)]
struct Entry<F> {
    key: FlowKey,
    flow: F,
    stamp: u32,
    last: Instant,
    older: usize,
    newer: usize,
}

#[derive(Debug, Clone, Copy)]
struct List {
    oldest: usize,
    newest: usize,
    len: usize,
}

impl<F> Flows<F> {
    /// A table of at most `max` flows, at least one.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: max.clamp(1, u32::MAX as usize / 2),
            places: HashMap::new(),
            entries: Slab::new(),
            lists: Vec::new(),
            stamp: 0,
        }
    }

    /// Whether a flow must go before another one comes.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.max
    }

    pub(super) fn find(&self, key: &FlowKey) -> Option<FlowId> {
        self.places.get(key).map(|index| self.id(*index))
    }

    pub(super) fn get_mut(&mut self, id: FlowId) -> Option<(&FlowKey, &mut F)> {
        let entry = self.entries.get_mut(id.index as usize)?;
        (entry.stamp == id.stamp).then_some((&entry.key, &mut entry.flow))
    }

    /// What the next flow to be inserted is called.
    pub(super) fn next_id(&self) -> FlowId {
        FlowId {
            index: self.entries.vacant_key() as u32,
            stamp: self.stamp.wrapping_add(1),
        }
    }

    /// Adds the flow as the newest one; the table must not be full, nor have one with that key.
    pub(super) fn insert(&mut self, key: FlowKey, now: Instant, flow: F) -> FlowId {
        debug_assert!(!self.is_full() && !self.places.contains_key(&key));
        if self.lists.len() <= key.port {
            self.lists.resize(key.port + 1, List::default());
        }
        self.stamp = self.stamp.wrapping_add(1);
        let index = self.entries.insert(Entry {
            key,
            flow,
            stamp: self.stamp,
            last: now,
            older: NONE,
            newer: NONE,
        });
        self.places.insert(key, index);
        self.lists[key.port].len += 1;
        self.link_newest(index);
        self.id(index)
    }

    /// A datagram has come or gone.
    pub(super) fn touch(&mut self, id: FlowId, now: Instant) {
        let index = id.index as usize;
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        entry.last = now;
        if entry.newer != NONE {
            self.unlink(index);
            self.link_newest(index);
        }
    }

    pub(super) fn remove(&mut self, id: FlowId) -> Option<(FlowKey, F)> {
        self.get_mut(id)?;
        let index = id.index as usize;
        self.unlink(index);
        let entry = self.entries.remove(index);
        self.lists[entry.key.port].len -= 1;
        self.places.remove(&entry.key);
        Some((entry.key, entry.flow))
    }

    /// The flow that was idle longest, of the port that has most flows: a flood on one port leaves the flows of
    /// the others alone.
    pub(super) fn oldest_of_the_fullest(&self) -> Option<FlowId> {
        let fullest = self.lists.iter().max_by_key(|list| list.len)?;
        (fullest.oldest != NONE).then(|| self.id(fullest.oldest))
    }

    /// A flow without a datagram since then.
    pub(super) fn idle_since(&self, then: Instant) -> Option<FlowId> {
        let oldest = self
            .lists
            .iter()
            .filter_map(|list| self.entries.get(list.oldest));
        let idle = oldest
            .filter(|entry| entry.last <= then)
            .min_by_key(|entry| entry.last)?;
        self.find(&idle.key)
    }

    /// Any flow of a port.
    pub(super) fn any_of(&self, port: usize) -> Option<FlowId> {
        let oldest = self.lists.get(port)?.oldest;
        (oldest != NONE).then(|| self.id(oldest))
    }

    fn id(&self, index: usize) -> FlowId {
        FlowId {
            index: index as u32,
            stamp: self.entries[index].stamp,
        }
    }

    fn unlink(&mut self, index: usize) {
        let Entry {
            key, older, newer, ..
        } = self.entries[index];
        let list = &mut self.lists[key.port];
        match older {
            NONE => list.oldest = newer,
            older => self.entries[older].newer = newer,
        }
        match newer {
            NONE => list.newest = older,
            newer => self.entries[newer].older = older,
        }
    }

    fn link_newest(&mut self, index: usize) {
        let list = &mut self.lists[self.entries[index].key.port];
        let before = std::mem::replace(&mut list.newest, index);
        match before {
            NONE => list.oldest = index,
            before => self.entries[before].newer = index,
        }
        let entry = &mut self.entries[index];
        (entry.older, entry.newer) = (before, NONE);
    }
}

impl Default for List {
    fn default() -> Self {
        Self {
            oldest: NONE,
            newest: NONE,
            len: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(port: usize, client: u16) -> FlowKey {
        FlowKey {
            port,
            client: SocketAddr::from(([192, 0, 2, 1], client)),
            local: None,
        }
    }

    fn clients(flows: &Flows<u16>, mut id: Option<FlowId>) -> Vec<u16> {
        let mut clients = vec![];
        while let Some(FlowId { index, .. }) = id {
            let entry = &flows.entries[index as usize];
            clients.push(entry.flow);
            id = (entry.newer != NONE).then(|| flows.id(entry.newer));
        }
        clients
    }

    #[test]
    fn the_flow_that_was_idle_longest_is_the_first_to_go() {
        let (mut flows, now) = (Flows::new(8), Instant::now());
        let ids = [1, 2, 3, 4].map(|client| flows.insert(key(0, client), now, client));
        flows.touch(ids[0], now);
        flows.touch(ids[2], now);
        assert_eq!(clients(&flows, flows.any_of(0)), [2, 4, 1, 3]);
        assert_eq!(flows.oldest_of_the_fullest(), Some(ids[1]));
        flows.remove(ids[3]);
        flows.remove(ids[1]);
        assert_eq!(clients(&flows, flows.any_of(0)), [1, 3]);
        flows.remove(ids[2]);
        flows.remove(ids[0]);
        assert_eq!(flows.any_of(0), None);
    }

    #[test]
    fn a_crowded_port_gives_way_before_a_quiet_one() {
        let (mut flows, now) = (Flows::new(4), Instant::now());
        let quiet = flows.insert(key(0, 1), now, 1);
        let crowd = [1, 2, 3].map(|client| flows.insert(key(1, client), now, client));
        assert!(flows.is_full());
        assert_eq!(flows.oldest_of_the_fullest(), Some(crowd[0]));
        assert_eq!(flows.find(&key(0, 1)), Some(quiet));
    }

    #[test]
    fn flows_are_idle_from_the_time_of_their_last_datagram() {
        let (mut flows, start) = (Flows::new(4), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = flows.insert(key(0, 1), at(0), 1);
        let second = flows.insert(key(1, 2), at(1), 2);
        flows.touch(first, at(2));
        assert_eq!(flows.idle_since(at(0)), None);
        assert_eq!(flows.idle_since(at(1)), Some(second));
        flows.remove(second);
        assert_eq!(flows.idle_since(at(1)), None);
        assert_eq!(flows.idle_since(at(2)), Some(first));
    }

    #[test]
    fn the_id_of_a_flow_that_is_gone_stands_for_no_other() {
        let (mut flows, now) = (Flows::new(4), Instant::now());
        let gone = flows.insert(key(0, 1), now, 1);
        assert_eq!(flows.remove(gone), Some((key(0, 1), 1)));
        let next = flows.insert(key(0, 2), now, 2);
        assert_eq!((next.index, flows.get_mut(gone)), (gone.index, None));
        assert_eq!(flows.remove(gone), None);
        assert_eq!(flows.find(&key(0, 1)), None);
        assert_eq!(flows.find(&key(0, 2)), Some(next));
    }
}

//! Connections between two exchanges.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use super::Shared;
use crate::upstream::gate::Gate;
use crate::upstream::pool::Place;

/// The unused connections of one thread, by endpoint.
#[derive(Debug)]
pub(crate) struct Idle {
    places: RefCell<HashMap<Place, VecDeque<Resting>>>,
    /// For each backend that bounds its connections: who makes room for those that wait.
    watchers: RefCell<HashMap<GateId, AbortOnDropHandle<()>>>,
    /// Connections of one endpoint; above, the oldest is closed.
    len_max: usize,
    /// How long one is kept.
    timeout: Duration,
}

/// The address of a gate that something in the same struct keeps alive.
type GateId = usize;

#[derive(Debug)]
struct Resting {
    connection: Shared,
    gate: Option<Arc<Gate>>,
    since: Instant,
}

impl Idle {
    pub(crate) fn new(len_max: usize, timeout: Duration) -> Rc<Self> {
        Rc::new(Self {
            places: RefCell::default(),
            watchers: RefCell::default(),
            len_max,
            timeout,
        })
    }

    /// The connection that was used last, so that the others age.
    pub(crate) fn take(&self, place: Place) -> Option<Shared> {
        let mut places = self.places.borrow_mut();
        let resting = places.get_mut(&place)?;
        while let Some(last) = resting.pop_back() {
            let is_fresh = last.since.elapsed() < self.timeout;
            if is_fresh && last.connection.borrow_mut().is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection for the next exchange. One that is not as it must be is closed, and so is one that
    /// others wait for.
    pub(crate) fn put(self: &Rc<Self>, place: Place, connection: Shared, gate: Option<Arc<Gate>>) {
        if !connection.borrow().is_reusable() {
            return;
        }
        if let Some(gate) = &gate {
            if gate.is_waited_for() {
                return;
            }
            self.watch(gate);
        }
        connection.borrow_mut().rest();
        let mut places = self.places.borrow_mut();
        let resting = places.entry(place).or_default();
        if resting.len() >= self.len_max {
            resting.pop_front();
        }
        resting.push_back(Resting {
            connection,
            gate,
            since: Instant::now(),
        });
    }

    /// Closes what has been unused for too long, and what the endpoint has closed; call it now and then.
    pub(crate) fn sweep(&self) {
        let mut places = self.places.borrow_mut();
        places.retain(|_, resting| {
            resting.retain(|resting| {
                resting.since.elapsed() < self.timeout && resting.connection.borrow_mut().is_quiet()
            });
            !resting.is_empty()
        });
        let gates = places.values().flatten();
        let gates = gates.filter_map(|resting| resting.gate.as_ref().map(id));
        let used: std::collections::HashSet<GateId> = gates.collect();
        self.watchers
            .borrow_mut()
            .retain(|gate, _| used.contains(gate));
    }

    /// Makes room from now on for requests of other endpoints and threads that wait for a connection.
    fn watch(self: &Rc<Self>, gate: &Arc<Gate>) {
        let mut watchers = self.watchers.borrow_mut();
        watchers.entry(id(gate)).or_insert_with(|| {
            let watching = make_room(Rc::downgrade(self), gate.clone());
            AbortOnDropHandle::new(tokio::task::spawn_local(watching))
        });
    }

    /// Closes as many of a backend's connections as others wait for.
    fn give_room(&self, gate: &Arc<Gate>) {
        let mut places = self.places.borrow_mut();
        let is_of_gate =
            |resting: &Resting| resting.gate.as_ref().is_some_and(|g| Arc::ptr_eq(g, gate));
        for resting in places.values_mut() {
            while let Some(oldest) = resting.iter().position(is_of_gate) {
                if !gate.makes_room() {
                    return;
                }
                resting.remove(oldest);
            }
        }
    }
}

async fn make_room(idle: Weak<Idle>, gate: Arc<Gate>) {
    loop {
        let mut wanted = pin!(gate.room_wanted());
        // Before the look at what is wanted, so that no later wish is missed.
        wanted.as_mut().enable();
        let Some(idle) = idle.upgrade() else {
            return;
        };
        idle.give_room(&gate);
        drop(idle);
        wanted.await;
    }
}

fn id(gate: &Arc<Gate>) -> GateId {
    Arc::as_ptr(gate).addr()
}

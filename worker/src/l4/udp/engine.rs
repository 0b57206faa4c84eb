//! All UDP of one thread: one loop over the sockets that have datagrams, a bounded piece of work at a time.

use std::fmt;
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use slab::Slab;

use super::choice::{self, Way};
use super::dropped::{Dropped, FlowEnd};
use super::flow::{self, Flow, Pace};
use super::flows::{FlowId, FlowKey, Flows};
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::port::{Datagrams, Port};
use crate::limits::Limits;
use crate::thread::{Thread, ThreadServing};

mod down;
mod up;

/// Sockets that are looked at in one turn.
const EVENTS_MAX: usize = 64;

/// Datagrams of one turn, about: a turn takes a millisecond at most, then the thread's other work has its turn.
const TURN_COST: usize = 256;

/// A new flow costs as much as so many datagrams.
const FLOW_COST: usize = 8;

/// Flows that end in one turn because they are idle.
const EXPIRED_MAX: usize = 64;

/// How often a new flow asks another one to make room where the system has no descriptor or local port left.
const ROOM_TRIES: usize = 4;

/// Marks the number of a port among the events.
const PORT: u64 = 1 << 63;

/// The bits of a flow's index among the events; its stamp has those above.
const INDEX: u64 = (1 << 31) - 1;

/// The UDP ports and flows of a thread.
pub(super) struct Engine {
    /// Tells which sockets have something. A descriptor of its own: the runtime watches one socket, not thousands.
    epoll: Rc<OwnedFd>,
    events: Vec<Event>,
    next_event: usize,
    pub(super) ports: Slab<Port>,
    pub(super) flows: Flows<Flow>,
    pub(super) inbox: Inbox,
    pub(super) to_endpoint: Outbox<()>,
    pub(super) to_clients: Outbox<FlowId>,
    pub(super) replies: Vec<Reply>,
    pub(super) chains: Vec<Chain>,
    pub(super) chains_used: usize,
    /// The configuration that was last seen, and its number.
    serving: Option<Rc<ThreadServing>>,
    pub(super) seen: u32,
    /// How often the kernel was asked for sockets with something.
    pub(super) asked: u32,
    /// Whether a socket may have more than it was asked for, or another one something.
    pub(super) has_more: bool,
    idle_timeout: Duration,
}

/// A message for a client that lies in the inbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub(super) slot: usize,
    pub(super) flow: FlowId,
    pub(super) key: FlowKey,
}

/// The messages of one flow in a batch: the numbers of their slots, in the order of their arrival.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) flow: FlowId,
    pub(super) slots: Vec<u8>,
}

/// What an event is about.
enum Source {
    Port(usize),
    Flow(FlowId),
}

impl Engine {
    /// # Errors
    /// When the system has no descriptor left.
    pub(super) fn new(limits: &Limits) -> io::Result<Self> {
        Ok(Self {
            epoll: Rc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?),
            events: Vec::with_capacity(EVENTS_MAX),
            next_event: 0,
            ports: Slab::new(),
            flows: Flows::new(limits.udp_flows_max),
            inbox: Inbox::new(),
            to_endpoint: Outbox::new(),
            to_clients: Outbox::new(),
            replies: Vec::new(),
            chains: Vec::new(),
            chains_used: 0,
            serving: None,
            seen: 0,
            asked: 0,
            has_more: true,
            idle_timeout: limits.udp_idle_timeout,
        })
    }

    /// Serves a port from now on; returns its number.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub(super) fn listen(&mut self, thread: &Thread, datagrams: Datagrams) -> io::Result<usize> {
        let counts = thread.metrics.udp_port(datagrams.bind_port);
        let port = Port::new(datagrams, counts, thread.open())?;
        let entry = self.ports.vacant_entry();
        let data = EventData::new_u64(PORT | entry.key() as u64);
        epoll::add(&*self.epoll, &port.socket, data, EventFlags::IN)?;
        let number = entry.key();
        entry.insert(port);
        Ok(number)
    }

    /// The descriptor that is readable while a socket has something.
    pub(super) fn epoll(&self) -> Rc<OwnedFd> {
        self.epoll.clone()
    }

    /// Closes a port; its flows, if there are any, end.
    pub(super) fn close(&mut self, thread: &Thread, port: usize) {
        while let Some(flow) = self.flows.any_of(port) {
            self.end(thread, flow, FlowEnd::ShutDown);
        }
        self.ports.try_remove(port);
    }

    /// Passes datagrams on until there are no more, for about a millisecond at most; whether there may be more.
    pub(super) fn turn(&mut self, thread: &Thread) -> bool {
        let now = Instant::now();
        self.look_at_configuration(thread);
        let mut cost = 0;
        while cost < TURN_COST {
            let Some(event) = self.events.get(self.next_event) else {
                self.send_replies();
                if !self.has_more {
                    // Being called again, the kernel has something to say.
                    self.has_more = true;
                    return false;
                }
                self.wait();
                continue;
            };
            let source = Source::of(event.data.u64());
            self.next_event += 1;
            cost += match source {
                Source::Port(port) => self.read_port(thread, port, now),
                Source::Flow(flow) => self.read_flow(thread, flow, now),
            };
        }
        self.send_replies();
        true
    }

    /// Asks which sockets have something. What one turn does not come to is left for the next one, before anything
    /// else: the kernel would name a flooded socket first each time.
    fn wait(&mut self) {
        self.events.clear();
        self.next_event = 0;
        self.asked = self.asked.wrapping_add(1);
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let events = spare_capacity(&mut self.events);
        if let Err(error) = epoll::wait(&*self.epoll, events, Some(&at_once)) {
            tracing::debug!(%error, "asking for sockets with datagrams failed");
        }
        self.has_more = self.events.len() == EVENTS_MAX;
    }

    /// Ends flows that are idle; whether there may be more of them.
    pub(super) fn expire(&mut self, thread: &Thread) -> bool {
        // Endpoints that come from the DNS change without a new configuration.
        self.seen = self.seen.wrapping_add(1);
        let Some(then) = Instant::now().checked_sub(self.idle_timeout) else {
            return false;
        };
        for _ in 0..EXPIRED_MAX {
            let Some(flow) = self.flows.idle_since(then) else {
                return false;
            };
            self.end(thread, flow, FlowEnd::Idle);
        }
        true
    }

    /// Ends all flows.
    pub(super) fn shut_down(&mut self, thread: &Thread) {
        let ports: Vec<usize> = self.ports.iter().map(|(number, _)| number).collect();
        for port in ports {
            self.close(thread, port);
        }
    }

    /// The flow of a datagram, and what finding it has cost; a new one where there is none.
    pub(super) fn flow_of(
        &mut self,
        thread: &Thread,
        key: FlowKey,
        now: Instant,
    ) -> (Result<FlowId, Dropped>, usize) {
        match self.flows.find(&key) {
            Some(flow) => (Ok(flow), 0),
            None => (self.begin(thread, key, now), FLOW_COST),
        }
    }

    fn begin(&mut self, thread: &Thread, key: FlowKey, now: Instant) -> Result<FlowId, Dropped> {
        let port = &self.ports[key.port];
        let entered = port.share.enter().ok_or(Dropped::Draining)?;
        let serving = self.serving.as_ref().ok_or(Dropped::NoRoute)?;
        let bind_port = port.bind_port;
        let (way, record) = choice::choose(thread, &serving.serving, bind_port, key.client, now)?;
        if self.flows.is_full() {
            self.evict(thread);
        }
        let socket = self.connect(thread, &way)?;
        let id = self.flows.next_id();
        self.watch(&socket, id)?;
        let series = thread.metrics.flows(&record);
        series.opened();
        let flow = Flow {
            socket,
            way,
            record,
            series,
            pace: Pace::default(),
            seen: self.seen,
            trains_up: true,
            trains_down: true,
            gets_trains: false,
            chain: None,
            _entered: entered,
        };
        Ok(self.flows.insert(key, now, flow))
    }

    /// A socket for a flow to that place; others make room for it where the system has none left.
    pub(super) fn connect(&mut self, thread: &Thread, way: &Way) -> Result<UdpSocket, Dropped> {
        for _ in 0..ROOM_TRIES {
            match flow::connect(way.endpoint.address) {
                Ok(socket) => return Ok(socket),
                Err(error) if is_out_of_sockets(&error) => {
                    if !self.evict(thread) {
                        break;
                    }
                }
                Err(error) => {
                    tracing::debug!(endpoint = %way.endpoint.address, %error, "an endpoint cannot be reached");
                    way.upstream.report(&way.endpoint, true);
                    return Err(Dropped::Unreachable);
                }
            }
        }
        Err(Dropped::NoSocket)
    }

    /// Asks to be told when a flow's socket has something.
    pub(super) fn watch(&self, socket: &UdpSocket, id: FlowId) -> Result<(), Dropped> {
        let data =
            EventData::new_u64(u64::from(id.stamp) << INDEX.count_ones() | u64::from(id.index));
        epoll::add(&*self.epoll, socket, data, EventFlags::IN).map_err(|_| Dropped::NoSocket)
    }

    /// Ends the flow that was idle longest, of the port that has most; `false` where there is none.
    fn evict(&mut self, thread: &Thread) -> bool {
        let Some(oldest) = self.flows.oldest_of_the_fullest() else {
            return false;
        };
        self.end(thread, oldest, FlowEnd::Evicted);
        true
    }

    pub(super) fn end(&mut self, thread: &Thread, id: FlowId, reason: FlowEnd) {
        let Some((_, mut flow)) = self.flows.remove(id) else {
            return;
        };
        flow.record.reason = Some(reason.reason());
        flow.series.closed();
        thread.metrics.flow_ended(&flow.record);
        if let Some(log) = &thread.access_log {
            log.write_flow(&flow.record);
        }
    }

    /// Datagrams of a port that go no further.
    pub(super) fn dropped(&self, port: usize, reason: Dropped, datagrams: u64) {
        if let Some(port) = self.ports.get(port) {
            port.dropped(reason, datagrams);
        }
    }

    fn look_at_configuration(&mut self, thread: &Thread) {
        let serving = thread.serving();
        if !self
            .serving
            .as_ref()
            .is_some_and(|seen| Rc::ptr_eq(seen, &serving))
        {
            self.serving = Some(serving);
            self.seen = self.seen.wrapping_add(1);
        }
    }

    pub(super) fn serving(&self) -> Option<&Rc<ThreadServing>> {
        self.serving.as_ref()
    }
}

impl Source {
    fn of(data: u64) -> Self {
        if data & PORT != 0 {
            return Self::Port((data & !PORT) as usize);
        }
        Self::Flow(FlowId {
            index: (data & INDEX) as u32,
            stamp: (data >> INDEX.count_ones()) as u32,
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("ports", &self.ports.len())
            .finish_non_exhaustive()
    }
}

/// Whether the process has no descriptor left, or the system no local port.
fn is_out_of_sockets(error: &io::Error) -> bool {
    let codes = [
        libc::EMFILE,
        libc::ENFILE,
        libc::EAGAIN,
        libc::EADDRINUSE,
        libc::EADDRNOTAVAIL,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

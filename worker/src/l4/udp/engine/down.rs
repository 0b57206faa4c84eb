//! From endpoints back to clients, and endpoints that fail.

use std::io;
use std::mem;
use std::time::Instant;

use super::{Engine, Reply};
use crate::l4::udp::choice::Way;
use crate::l4::udp::dropped::Dropped;
use crate::l4::udp::flows::FlowId;
use crate::l4::udp::outbox::{Address, Sent};
use crate::thread::Thread;

/// Free slots of the inbox below which it is emptied first.
const ROOM_MIN: usize = 8;

impl Engine {
    /// Takes what an endpoint has sent; returns what it has cost.
    pub(super) fn read_flow(&mut self, thread: &Thread, id: FlowId, now: Instant) -> usize {
        if self.inbox.room() < ROOM_MIN {
            self.send_replies();
        }
        let round = self.asked;
        let Some((key, flow)) = self.flows.get_mut(id) else {
            return 0;
        };
        let key = *key;
        let asked = flow.pace.asks(round).min(self.inbox.room());
        let slots = match self.inbox.receive(&flow.socket, asked) {
            Ok(slots) => slots,
            Err(error) => {
                if Dropped::of(&error) == Dropped::Unreachable {
                    // Which datagrams it answers is not known: at least one is lost.
                    self.dropped(key.port, Dropped::Unreachable, 1);
                    self.endpoint_failed(thread, id);
                }
                self.has_more |= error.kind() != io::ErrorKind::WouldBlock;
                return 1;
            }
        };
        if slots.len() > 1 {
            flow.expect_trains();
        }
        flow.way.upstream.report(&flow.way.endpoint, false);
        self.has_more |= flow.pace.got(asked, slots.len());
        let cost = slots.len();
        for slot in slots {
            if self.inbox.envelope(slot).is_truncated() {
                self.dropped(key.port, Dropped::Truncated, 1);
            } else {
                self.replies.push(Reply {
                    slot,
                    flow: id,
                    key,
                });
            }
        }
        self.flows.touch(id, now);
        cost
    }

    /// Sends the replies that wait in the inbox, and empties it.
    pub(super) fn send_replies(&mut self) {
        let replies = mem::take(&mut self.replies);
        for replies in replies.chunk_by(|one, other| one.key.port == other.key.port) {
            self.send_through(replies);
        }
        self.replies = replies;
        self.replies.clear();
        self.inbox.clear();
    }

    /// Sends replies of one port's flows.
    fn send_through(&mut self, replies: &[Reply]) {
        let number = replies[0].key.port;
        self.to_clients.clear();
        for reply in replies {
            // A flow that has ended meanwhile still gets what had come by then.
            let trains = self
                .flows
                .get_mut(reply.flow)
                .is_some_and(|(_, flow)| flow.trains_down);
            let to = Address {
                receiver: Some(reply.key.client),
                source: reply.key.local,
            };
            self.to_clients
                .add(&self.inbox, reply.slot, reply.flow, to, trains);
        }
        let mut at = 0;
        while at < self.to_clients.letters().len() {
            let Some(port) = self.ports.get(number) else {
                return;
            };
            let Sent { next, error } = self.to_clients.send(at, &port.socket, &self.inbox);
            for place in at..next {
                self.note_reply(place);
            }
            at = next;
            if let Some(error) = error {
                let lost = self.to_clients.letters()[at].datagrams;
                self.dropped(number, Dropped::of(&error), lost.into());
                at += 1;
            }
        }
    }

    fn note_reply(&mut self, place: usize) {
        let letter = &self.to_clients.letters()[place];
        if let Some((_, flow)) = self.flows.get_mut(letter.owner) {
            flow.trains_down &= !letter.was_cut;
            flow.note_replied(letter.datagrams.into(), letter.bytes as u64);
        }
    }

    /// An endpoint has refused or cannot be reached; whether the flow has another one now.
    pub(super) fn endpoint_failed(&mut self, thread: &Thread, id: FlowId) -> bool {
        let Some((_, flow)) = self.flows.get_mut(id) else {
            return false;
        };
        if flow.way.upstream.report(&flow.way.endpoint, true) {
            thread
                .metrics
                .backend(&flow.way.upstream.backend.name)
                .ejected();
        }
        self.change_endpoint(thread, id)
    }

    /// Whether the flow goes to another endpoint of its backend from now on.
    pub(super) fn change_endpoint(&mut self, thread: &Thread, id: FlowId) -> bool {
        let Some((key, flow)) = self.flows.get_mut(id) else {
            return false;
        };
        let failed = Some(flow.way.endpoint.address);
        let Ok(way) = Way::to(&flow.way.upstream, key.client, failed) else {
            return false;
        };
        let Ok(socket) = self.connect(thread, &way) else {
            return false;
        };
        if self.watch(&socket, id).is_err() {
            return false;
        }
        let Some((_, flow)) = self.flows.get_mut(id) else {
            return false;
        };
        flow.record.retries += 1;
        flow.record.endpoint = Some(way.endpoint.address);
        (flow.socket, flow.way) = (socket, way);
        true
    }
}

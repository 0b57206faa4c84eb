//! From clients to endpoints.

use std::io;
use std::mem;
use std::net::IpAddr;
use std::time::Instant;

use super::{Chain, Engine};
use crate::l4::udp::dropped::{Dropped, FlowEnd};
use crate::l4::udp::flows::{FlowId, FlowKey};
use crate::l4::udp::outbox::{Address, Sent};
use crate::thread::Thread;

impl Engine {
    /// Passes on what clients have sent to a port; returns what it has cost.
    pub(super) fn read_port(&mut self, thread: &Thread, number: usize, now: Instant) -> usize {
        self.send_replies();
        let Some(port) = self.ports.get_mut(number) else {
            return 0;
        };
        let asked = port.pace.asks(self.asked);
        let slots = match self.inbox.receive(&port.socket, asked) {
            Ok(slots) => slots,
            Err(error) => {
                self.has_more |= error.kind() != io::ErrorKind::WouldBlock;
                return 1;
            }
        };
        self.has_more |= port.pace.got(asked, slots.len());
        let mut cost = slots.len();
        let mut last: Option<(FlowKey, Result<FlowId, Dropped>)> = None;
        for slot in slots {
            let Some(key) = self.key_of(number, slot) else {
                continue;
            };
            // Datagrams of one client often come together.
            let flow = match last {
                Some((same, flow)) if same == key => flow,
                _ => {
                    let (flow, more) = self.flow_of(thread, key, now);
                    cost += more;
                    flow
                }
            };
            last = Some((key, flow));
            match flow {
                Ok(flow) => self.add_to_chain(flow, slot, now),
                Err(reason) => self.dropped(number, reason, self.datagrams_in(slot)),
            }
        }
        self.send_chains(thread, number);
        self.inbox.clear();
        cost
    }

    /// What tells the flow of a message apart; `None` where it goes no further.
    fn key_of(&self, port: usize, slot: usize) -> Option<FlowKey> {
        let envelope = self.inbox.envelope(slot);
        let local = envelope.local();
        let client = envelope.sender()?;
        if envelope.is_truncated() {
            self.dropped(port, Dropped::Truncated, 1);
            return None;
        }
        // The address of a sender may be a lie. With one of ours, answers would go round for ever.
        let own: IpAddr = local.unwrap_or_else(|| self.ports[port].bound.ip());
        let is_port = |port: u16| self.ports.iter().any(|(_, own)| own.bound.port() == port);
        if client.port() == 0 || client.ip() == own && is_port(client.port()) {
            self.dropped(port, Dropped::Loop, self.datagrams_in(slot));
            return None;
        }
        Some(FlowKey {
            port,
            client,
            local,
        })
    }

    fn datagrams_in(&self, slot: usize) -> u64 {
        let bytes = self.inbox.bytes(slot).len();
        bytes
            .div_ceil(self.inbox.envelope(slot).segment_bytes())
            .max(1) as u64
    }

    fn add_to_chain(&mut self, id: FlowId, slot: usize, now: Instant) {
        let Some((_, flow)) = self.flows.get_mut(id) else {
            return;
        };
        if let Some(chain) = flow.chain {
            self.chains[usize::from(chain)].slots.push(slot as u8);
            return;
        }
        flow.chain = Some(self.chains_used as u8);
        self.flows.touch(id, now);
        if self.chains.len() == self.chains_used {
            self.chains.push(Chain {
                flow: id,
                slots: vec![],
            });
        }
        let chain = &mut self.chains[self.chains_used];
        chain.flow = id;
        chain.slots.clear();
        chain.slots.push(slot as u8);
        self.chains_used += 1;
    }

    fn send_chains(&mut self, thread: &Thread, port: usize) {
        let mut chains = mem::take(&mut self.chains);
        for chain in &mut chains[..mem::take(&mut self.chains_used)] {
            if let Some((_, flow)) = self.flows.get_mut(chain.flow) {
                flow.chain = None;
            }
            self.send_chain(thread, port, chain);
        }
        self.chains = chains;
    }

    fn send_chain(&mut self, thread: &Thread, port: usize, chain: &Chain) {
        if let Err(reason) = self.look_at_endpoint(thread, chain.flow) {
            let datagrams = chain
                .slots
                .iter()
                .map(|slot| self.datagrams_in(usize::from(*slot)));
            return self.dropped(port, reason, datagrams.sum());
        }
        let Some((_, flow)) = self.flows.get_mut(chain.flow) else {
            return;
        };
        self.to_endpoint.clear();
        for slot in &chain.slots {
            let slot = usize::from(*slot);
            self.to_endpoint
                .add(&self.inbox, slot, (), Address::default(), flow.trains_up);
        }
        self.transmit(thread, port, chain.flow);
    }

    /// Sends what lies in the outbox; an endpoint that refuses is left for another one.
    fn transmit(&mut self, thread: &Thread, port: usize, id: FlowId) {
        let (mut at, mut tries) = (0, thread.limits.connect_attempts_max);
        while at < self.to_endpoint.letters().len() {
            let Some((_, flow)) = self.flows.get_mut(id) else {
                return;
            };
            let Sent { next, error } = self.to_endpoint.send(at, &flow.socket, &self.inbox);
            for letter in &self.to_endpoint.letters()[at..next] {
                flow.trains_up &= !letter.was_cut;
                flow.note_received(letter.datagrams.into(), letter.bytes as u64);
            }
            at = next;
            let Some(error) = error else {
                return;
            };
            let reason = Dropped::of(&error);
            tries = tries.saturating_sub(1);
            // The error is of a datagram before, so this one deserves a try.
            if reason == Dropped::Unreachable && tries > 0 && self.endpoint_failed(thread, id) {
                continue;
            }
            let lost = self.to_endpoint.letters()[at].datagrams;
            self.dropped(port, reason, lost.into());
            at += 1;
        }
    }

    /// Compares the flow with the present configuration. One whose endpoint is gone gets another one of its backend;
    /// without one it ends, and the client's next datagram begins a new flow.
    fn look_at_endpoint(&mut self, thread: &Thread, id: FlowId) -> Result<(), Dropped> {
        let (seen, serving) = (self.seen, self.serving().cloned());
        // It may have made room for another client of the same batch.
        let (_, flow) = self.flows.get_mut(id).ok_or(Dropped::TableFull)?;
        if flow.seen == seen {
            return Ok(());
        }
        flow.seen = seen;
        let name = &flow.way.upstream.backend.name;
        // A backend that no route refers to any more stays what it was for the flows that it has.
        if let Some(now) = serving
            .as_ref()
            .and_then(|serving| serving.serving.upstream(name))
        {
            flow.way.upstream = now.clone();
        }
        let is_there = flow.way.upstream.has_endpoint(flow.way.endpoint.address);
        if is_there || self.change_endpoint(thread, id) {
            return Ok(());
        }
        self.end(thread, id, FlowEnd::EndpointGone);
        Err(Dropped::NoEndpoint)
    }
}

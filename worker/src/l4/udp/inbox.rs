//! Room for the datagrams that a thread has received and not yet passed on; made once, used for all sockets.

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use super::envelope::Envelope;
use super::syscalls::{self, MESSAGES_MAX};

/// Messages that are held at once.
pub(super) const SLOTS: usize = MESSAGES_MAX;

/// Room for a message: no datagram and no train of datagrams is longer than 64 KiB. The odd lines between two of
/// them keep their first bytes, often the only ones, from sharing the same few places of the cache.
const SLOT_BYTES: usize = (64 << 10) + 9 * 64;

/// Received messages by their slots.
pub(super) struct Inbox {
    /// The kernel makes pages of it resident as messages need them.
    buffers: Vec<u8>,
    slot_bytes: usize,
    envelopes: Vec<Envelope>,
    used: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self::with_slots(SLOTS, SLOT_BYTES)
    }

    fn with_slots(count: usize, slot_bytes: usize) -> Self {
        Self {
            buffers: vec![0; count * slot_bytes],
            slot_bytes,
            envelopes: vec![Envelope::default(); count],
            used: 0,
        }
    }

    /// Free slots.
    pub(super) fn room(&self) -> usize {
        self.envelopes.len() - self.used
    }

    /// Frees all slots.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Receives at most `max` messages and as many as there is room for; returns their slots.
    ///
    /// # Errors
    /// When nothing is there (`WouldBlock`), or what the socket reports.
    pub(super) fn receive(&mut self, socket: impl AsFd, max: usize) -> io::Result<Range<usize>> {
        let end = self.envelopes.len().min(self.used + max);
        let slots = self.used..end;
        let bytes = slots.start * self.slot_bytes..slots.end * self.slot_bytes;
        let received = syscalls::receive(
            socket.as_fd(),
            &mut self.buffers[bytes],
            self.slot_bytes,
            &mut self.envelopes[slots],
        )?;
        let start = self.used;
        self.used += received;
        Ok(start..self.used)
    }

    pub(super) fn envelope(&self, slot: usize) -> &Envelope {
        &self.envelopes[slot]
    }

    /// The bytes of a message.
    pub(super) fn bytes(&self, slot: usize) -> &[u8] {
        let len = self.envelopes[slot].len().min(self.slot_bytes);
        &self.buffers[slot * self.slot_bytes..][..len]
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the datagrams: they are other people's.
        f.debug_struct("Inbox")
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};

    use super::super::envelope::SocketOption;
    use super::*;

    fn pair(bind: &str) -> (UdpSocket, SocketAddr, UdpSocket) {
        let receiver = UdpSocket::bind(bind).unwrap();
        let address = receiver.local_addr().unwrap();
        (receiver, address, UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    #[test]
    fn datagrams_of_all_sizes_arrive_with_their_senders() {
        let (receiver, address, sender) = pair("127.0.0.1:0");
        let largest = vec![7; 65_507];
        for datagram in [&b""[..], b"x", &largest] {
            sender.send_to(datagram, address).unwrap();
        }
        let mut inbox = Inbox::new();
        let slots = inbox.receive(&receiver, SLOTS).unwrap();
        let lens: Vec<_> = slots.clone().map(|slot| inbox.bytes(slot).len()).collect();
        assert_eq!(lens, [0, 1, 65_507]);
        for slot in slots {
            let envelope = inbox.envelope(slot);
            assert_eq!(envelope.sender(), sender.local_addr().ok());
            assert_eq!((envelope.local(), envelope.is_truncated()), (None, false));
        }
        let nothing = inbox.receive(&receiver, SLOTS).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_datagram_that_does_not_fit_is_known_as_cut_off() {
        let (receiver, address, sender) = pair("127.0.0.1:0");
        sender.send_to(&[1; 17], address).unwrap();
        sender.send_to(&[1; 16], address).unwrap();
        let mut inbox = Inbox::with_slots(2, 16);
        let slots = inbox.receive(&receiver, 2).unwrap();
        let cut: Vec<_> = slots
            .map(|slot| inbox.envelope(slot).is_truncated())
            .collect();
        assert_eq!(cut, [true, false]);
    }

    #[test]
    fn the_address_that_was_sent_to_is_told() {
        let (receiver, address, sender) = pair("0.0.0.0:0");
        syscalls::switch_on(receiver.as_fd(), SocketOption::LocalAddressV4).unwrap();
        sender.send_to(b"x", ("127.0.0.2", address.port())).unwrap();
        let (receiver_v6, address_v6, sender_v6) = pair("[::]:0");
        syscalls::switch_on(receiver_v6.as_fd(), SocketOption::LocalAddressV6).unwrap();
        sender_v6
            .send_to(b"x", ("127.0.0.3", address_v6.port()))
            .unwrap();
        let mut inbox = Inbox::new();
        inbox.receive(&receiver, SLOTS).unwrap();
        inbox.receive(&receiver_v6, SLOTS).unwrap();
        let local = [0, 1].map(|slot| inbox.envelope(slot).local().unwrap().to_string());
        assert_eq!(local, ["127.0.0.2", "::ffff:127.0.0.3"]);
    }

    #[test]
    fn slots_are_used_one_after_the_other_until_they_are_freed() {
        let (receiver, address, sender) = pair("127.0.0.1:0");
        for text in ["a", "b", "c"] {
            sender.send_to(text.as_bytes(), address).unwrap();
        }
        let mut inbox = Inbox::with_slots(2, 16);
        assert_eq!(inbox.receive(&receiver, 1).unwrap(), 0..1);
        assert_eq!(inbox.receive(&receiver, SLOTS).unwrap(), 1..2);
        assert_eq!(
            (inbox.bytes(0), inbox.bytes(1), inbox.room()),
            (&b"a"[..], &b"b"[..], 0)
        );
        inbox.clear();
        assert_eq!(inbox.receive(&receiver, SLOTS).unwrap(), 0..1);
        assert_eq!(inbox.bytes(0), b"c");
    }
}

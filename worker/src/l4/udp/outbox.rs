//! Datagrams on their way out: those of equal size to one receiver travel as a train, which the kernel cuts up late.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use super::envelope::Envelope;
use super::inbox::Inbox;
use super::syscalls::{self, MESSAGES_MAX, Outgoing};

/// Datagrams of one train (the kernel's bound, `UDP_MAX_SEGMENTS`, is no lower).
const TRAIN_DATAGRAMS_MAX: usize = 64;

/// Bytes of one train: with its headers it must fit into an IP packet.
const TRAIN_BYTES_MAX: usize = 65_000;

/// Messages that wait to be sent through one socket; made once, used for all sockets.
#[derive(Debug, Default)]
pub(super) struct Outbox<O> {
    letters: Vec<Letter<O>>,
    /// Of the same places as the letters; longer than those, so that room is kept.
    envelopes: Vec<Envelope>,
    parts: Vec<Part>,
}

/// One message: a datagram or a train.
#[derive(Debug, Clone)]
pub(super) struct Letter<O> {
    /// What it belongs to; trains are made of datagrams of the same owner.
    pub(super) owner: O,
    pub(super) datagrams: u32,
    pub(super) bytes: usize,
    /// The kernel would not take it as a train, so that its datagrams were sent one by one.
    pub(super) was_cut: bool,
    to: Address,
    parts: Range<usize>,
    /// Bytes of each datagram but the last.
    segment_bytes: usize,
    /// The last datagram is shorter: the train has its end.
    ends: bool,
}

/// Where a message goes and comes from; nothing for a connected socket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Address {
    pub(super) receiver: Option<SocketAddr>,
    pub(super) source: Option<IpAddr>,
}

/// How far sending came.
#[derive(Debug)]
pub(super) struct Sent {
    /// The first letter that was not sent.
    pub(super) next: usize,
    /// Why not, where it was tried.
    pub(super) error: Option<io::Error>,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    slot: usize,
    start: usize,
    len: usize,
}

impl<O: Copy + PartialEq> Outbox<O> {
    pub(super) fn new() -> Self {
        Self {
            letters: Vec::new(),
            envelopes: Vec::new(),
            parts: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.letters.clear();
        self.parts.clear();
    }

    pub(super) fn letters(&self) -> &[Letter<O>] {
        &self.letters
    }

    /// Adds the message in a slot, which may be a train itself.
    pub(super) fn add(&mut self, inbox: &Inbox, slot: usize, owner: O, to: Address, trains: bool) {
        let (len, segment_bytes) = (
            inbox.bytes(slot).len(),
            inbox.envelope(slot).segment_bytes(),
        );
        let part = Part {
            slot,
            start: 0,
            len,
        };
        if trains {
            self.add_train(part, segment_bytes, owner, to);
            return;
        }
        let mut start = 0;
        // An empty datagram is one, too.
        loop {
            let len = segment_bytes.min(part.len - start);
            self.add_letter(Part { slot, start, len }, len.max(1), owner, to);
            start += len;
            if start >= part.len {
                return;
            }
        }
    }

    fn add_train(&mut self, part: Part, segment_bytes: usize, owner: O, to: Address) {
        let datagrams = part.len.div_ceil(segment_bytes).max(1);
        if let Some(last) = self.letters.last_mut()
            && last.owner == owner
            && !last.ends
            && part.len > 0
            // A single one that is shorter may be the last.
            && (segment_bytes == last.segment_bytes
                || datagrams == 1 && part.len < last.segment_bytes)
            && last.datagrams as usize + datagrams <= TRAIN_DATAGRAMS_MAX
            && last.bytes + part.len <= TRAIN_BYTES_MAX
        {
            last.ends = !part.len.is_multiple_of(last.segment_bytes);
            last.datagrams += datagrams as u32;
            last.bytes += part.len;
            last.parts.end += 1;
            self.parts.push(part);
            return;
        }
        self.add_letter(part, segment_bytes, owner, to);
    }

    fn add_letter(&mut self, part: Part, segment_bytes: usize, owner: O, to: Address) {
        let place = self.parts.len();
        self.parts.push(part);
        self.letters.push(Letter {
            owner,
            datagrams: part.len.div_ceil(segment_bytes).max(1) as u32,
            bytes: part.len,
            was_cut: false,
            to,
            parts: place..place + 1,
            segment_bytes,
            ends: part.len == 0 || !part.len.is_multiple_of(segment_bytes),
        });
    }

    /// Sends letters from the one at `first` on, until all are sent or one cannot be.
    pub(super) fn send(&mut self, first: usize, socket: impl AsFd, inbox: &Inbox) -> Sent {
        let mut next = first;
        while next < self.letters.len() {
            let sent = self.send_some(next, socket.as_fd(), inbox);
            match sent {
                Ok(sent) => next += sent.max(1),
                Err(error) if self.letters[next].is_train() && refuses_trains(&error) => {
                    if let Err(error) = self.send_cut(next, socket.as_fd(), inbox) {
                        return Sent {
                            next,
                            error: Some(error),
                        };
                    }
                    next += 1;
                }
                Err(error) => {
                    return Sent {
                        next,
                        error: Some(error),
                    };
                }
            }
        }
        Sent { next, error: None }
    }

    /// One system call; returns how many letters were sent.
    fn send_some(
        &mut self,
        first: usize,
        socket: BorrowedFd<'_>,
        inbox: &Inbox,
    ) -> io::Result<usize> {
        let start = self.letters[first].parts.start;
        let wanted = self.letters[first..].iter().take(MESSAGES_MAX);
        let wanted = wanted.take_while(|letter| letter.parts.end - start <= MESSAGES_MAX);
        let letters = first..first + wanted.count();
        if self.envelopes.len() < letters.len() {
            self.envelopes.resize_with(letters.len(), Envelope::default);
        }
        // Most calls have but one datagram to send: those do not fill arrays for many.
        if letters.len() == 1 && self.letters[first].parts.len() == 1 {
            self.send_up_to::<1>(letters, socket, inbox)
        } else {
            self.send_up_to::<MESSAGES_MAX>(letters, socket, inbox)
        }
    }

    /// Sends letters of at most `MAX` parts in all.
    fn send_up_to<const MAX: usize>(
        &mut self,
        letters: Range<usize>,
        socket: BorrowedFd<'_>,
        inbox: &Inbox,
    ) -> io::Result<usize> {
        let letters = &self.letters[letters];
        let parts = &self.parts[letters[0].parts.start..];
        let mut slices = [IoSlice::new(&[]); MAX];
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part.of(inbox));
        }
        for (letter, envelope) in letters.iter().zip(&mut self.envelopes) {
            let cut = letter.is_train().then_some(letter.segment_bytes);
            letter.to.write(envelope, cut);
        }
        let unused = Outgoing {
            parts: &[],
            envelope: &self.envelopes[0],
        };
        let mut messages = [unused; MAX];
        let mut slices = &slices[..];
        for (message, (letter, envelope)) in
            messages.iter_mut().zip(letters.iter().zip(&self.envelopes))
        {
            let (parts, rest) = slices.split_at(letter.parts.len());
            *message = Outgoing { parts, envelope };
            slices = rest;
        }
        syscalls::send(socket, &messages[..letters.len()])
    }

    /// Sends the datagrams of a train one by one.
    fn send_cut(&mut self, place: usize, socket: BorrowedFd<'_>, inbox: &Inbox) -> io::Result<()> {
        let letter = &mut self.letters[place];
        letter.was_cut = true;
        let envelope = &mut self.envelopes[0];
        letter.to.write(envelope, None);
        for part in &self.parts[letter.parts.clone()] {
            for datagram in part.of(inbox).chunks(letter.segment_bytes) {
                let parts = [IoSlice::new(datagram)];
                syscalls::send(
                    socket,
                    &[Outgoing {
                        parts: &parts,
                        envelope,
                    }],
                )?;
            }
        }
        Ok(())
    }
}

impl<O> Letter<O> {
    fn is_train(&self) -> bool {
        self.datagrams > 1
    }
}

impl Part {
    fn of(self, inbox: &Inbox) -> &[u8] {
        &inbox.bytes(self.slot)[self.start..][..self.len]
    }
}

impl Address {
    fn write(&self, envelope: &mut Envelope, segment_bytes: Option<usize>) {
        envelope.clear();
        if let Some(receiver) = self.receiver {
            envelope.set_receiver(receiver);
        }
        if let Some(source) = self.source {
            envelope.set_source(source);
        }
        if let Some(bytes) = segment_bytes.and_then(|bytes| u16::try_from(bytes).ok()) {
            envelope.set_segment_bytes(bytes);
        }
    }
}

/// Whether the kernel will not cut a train here: the network's packets are too small for its datagrams, or a tunnel
/// or a device on the way cannot do it.
fn refuses_trains(error: &io::Error) -> bool {
    let codes = [libc::EINVAL, libc::EIO, libc::EMSGSIZE, libc::EOPNOTSUPP];
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::super::envelope::SocketOption;
    use super::super::inbox::SLOTS;
    use super::*;

    /// A sender, the receiver that it is connected to, and what it has received before.
    struct Wire {
        source: UdpSocket,
        middle: UdpSocket,
        out: UdpSocket,
        sink: UdpSocket,
    }

    fn wire() -> Wire {
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let [source, middle, out, sink] = [socket(), socket(), socket(), socket()];
        source.connect(middle.local_addr().unwrap()).unwrap();
        out.connect(sink.local_addr().unwrap()).unwrap();
        sink.set_nonblocking(true).unwrap();
        Wire {
            source,
            middle,
            out,
            sink,
        }
    }

    /// Sizes that go in, with the owner of each; the datagrams of each letter; the sizes that come out.
    fn pass(wire: &Wire, sizes: &[(usize, u8)], trains: bool) -> (Vec<u32>, Vec<usize>) {
        let (mut inbox, mut outbox) = (Inbox::new(), Outbox::new());
        for (number, (size, _)) in sizes.iter().enumerate() {
            wire.source.send(&vec![number as u8; *size]).unwrap();
        }
        let slots = inbox.receive(&wire.middle, SLOTS).unwrap();
        for (slot, (_, owner)) in slots.zip(sizes) {
            outbox.add(&inbox, slot, *owner, Address::default(), trains);
        }
        let sent = outbox.send(0, &wire.out, &inbox);
        assert!(
            sent.error.is_none() && sent.next == outbox.letters().len(),
            "{sent:?}"
        );
        let letters = outbox.letters().iter().map(|letter| letter.datagrams);
        (letters.collect(), received(&wire.sink))
    }

    /// The sizes of all datagrams, which must come in the order in which they were sent.
    fn received(sink: &UdpSocket) -> Vec<usize> {
        let mut buffer = vec![0; 65_536];
        let (mut sizes, mut newest) = (vec![], 0);
        while let Ok(size) = sink.recv(&mut buffer) {
            let number = buffer[..size].first().copied().unwrap_or(newest);
            assert!(buffer[..size].iter().all(|byte| *byte == number) && number >= newest);
            newest = number;
            sizes.push(size);
        }
        sizes
    }

    #[test]
    fn datagrams_of_equal_size_travel_as_a_train_that_a_shorter_one_ends() {
        let sizes = [
            (200, 1),
            (200, 1),
            (90, 1),
            (200, 1),
            (0, 1),
            (90, 2),
            (90, 1),
            (100, 1),
        ];
        let (letters, received) = pass(&wire(), &sizes, true);
        assert_eq!(letters, [3, 1, 1, 1, 1, 1]);
        assert_eq!(received, sizes.map(|(size, _)| size));
    }

    #[test]
    fn without_trains_each_datagram_is_a_message() {
        let sizes = [(200, 1), (200, 1), (0, 1)];
        let (letters, received) = pass(&wire(), &sizes, false);
        assert_eq!((letters, received), (vec![1, 1, 1], vec![200, 200, 0]));
    }

    #[test]
    fn more_than_a_train_may_hold_makes_several() {
        let sizes = [(30_000, 1); 5];
        let (letters, received) = pass(&wire(), &sizes, true);
        assert_eq!((letters, received), (vec![2, 2, 1], vec![30_000; 5]));
    }

    #[test]
    fn a_train_that_was_received_as_one_is_passed_on_or_cut() {
        for (trains, letters) in [(true, vec![4]), (false, vec![1, 1, 1, 1])] {
            let wire = wire();
            syscalls::switch_on(wire.middle.as_fd(), SocketOption::Trains).unwrap();
            let (mut inbox, mut outbox) = (Inbox::new(), Outbox::new());
            let four = UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..4 {
                four.send_to(&[0; 300], wire.middle.local_addr().unwrap())
                    .unwrap();
            }
            let slots = inbox.receive(&wire.middle, SLOTS).unwrap();
            for slot in slots {
                outbox.add(&inbox, slot, 1, Address::default(), true);
            }
            // Sent as a train, they arrive as one.
            wire.source.set_nonblocking(true).unwrap();
            let back = UdpSocket::bind("127.0.0.1:0").unwrap();
            back.connect(wire.middle.local_addr().unwrap()).unwrap();
            outbox.send(0, &back, &inbox);
            let mut passed = Outbox::new();
            inbox.clear();
            let slots = inbox.receive(&wire.middle, SLOTS).unwrap();
            assert_eq!(slots.len(), 1);
            passed.add(&inbox, 0, 1, Address::default(), trains);
            passed.send(0, &wire.out, &inbox);
            let sent: Vec<_> = passed
                .letters()
                .iter()
                .map(|letter| letter.datagrams)
                .collect();
            assert_eq!((sent, received(&wire.sink)), (letters, vec![300; 4]));
        }
    }

    #[test]
    fn an_error_says_which_message_it_stopped_at() {
        let wire = wire();
        let (mut inbox, mut outbox) = (Inbox::new(), Outbox::new());
        for text in ["a", "b", "c"] {
            wire.source.send(text.as_bytes()).unwrap();
        }
        let slots = inbox.receive(&wire.middle, SLOTS).unwrap();
        let here = wire.sink.local_addr().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let unconnected = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (slot, receiver) in slots.zip([here, nowhere, here]) {
            let to = Address {
                receiver: Some(receiver),
                source: None,
            };
            outbox.add(&inbox, slot, slot, to, true);
        }
        let sent = outbox.send(0, &unconnected, &inbox);
        assert_eq!((sent.next, sent.error.is_some()), (1, true));
        let sent = outbox.send(2, &unconnected, &inbox);
        assert_eq!((sent.next, sent.error.is_some()), (3, false));
        assert_eq!(received(&wire.sink), [1, 1]);
    }
}

//! A flow: a client's datagrams go to one endpoint through a socket of their own, and its replies come back.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::choice::Way;
use super::envelope::SocketOption;
use super::inbox::SLOTS;
use super::share::Entered;
use super::syscalls;
use crate::l4::flow::{Datagrams, Record};
use crate::metrics::FlowSeries;

/// One flow of a thread.
#[derive(Debug)]
pub(super) struct Flow {
    /// Connected to the endpoint: ICMP errors come as errors of this socket, and nobody else's datagrams come at all.
    pub(super) socket: UdpSocket,
    pub(super) way: Way,
    pub(super) record: Record,
    pub(super) series: Arc<FlowSeries>,
    pub(super) pace: Pace,
    /// The configuration that the place was last compared with.
    pub(super) seen: u32,
    /// Whether the kernel takes trains to the endpoint, and to the client.
    pub(super) trains_up: bool,
    pub(super) trains_down: bool,
    /// Whether the endpoint's datagrams may come as trains.
    pub(super) gets_trains: bool,
    /// Its place among the chains of the batch at hand.
    pub(super) chain: Option<u8>,
    pub(super) _entered: Entered,
}

/// How many messages a socket is asked for at once: a call that finds one where it asked for many is a wasted one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    asks: u8,
    was_full: bool,
    round: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            asks: 1,
            was_full: false,
            round: 0,
        }
    }
}

impl Pace {
    /// Messages to ask for in this round: more where the call of the round before got all that it asked for and left
    /// some.
    pub(super) fn asks(&mut self, round: u32) -> usize {
        if self.was_full && round == self.round.wrapping_add(1) {
            self.asks = self.asks.saturating_mul(2).min(SLOTS as u8);
        }
        self.round = round;
        self.asks.into()
    }

    /// Notes how many came; whether there may be more.
    pub(super) fn got(&mut self, asked: usize, received: usize) -> bool {
        self.was_full = received >= asked;
        if received * 2 <= self.asks.into() {
            self.asks = (self.asks / 2).max(1);
        }
        self.was_full
    }
}

impl Flow {
    /// From now on equal datagrams of the endpoint may come as a train: most flows have too few for it to pay.
    pub(super) fn expect_trains(&mut self) {
        if !self.gets_trains {
            self.gets_trains = true;
            // Where the kernel does not know it, they come one by one.
            let _ = syscalls::switch_on(self.socket.as_fd(), SocketOption::Trains);
        }
    }

    /// Datagrams of the client have gone to the endpoint.
    pub(super) fn note_received(&mut self, datagrams: u64, bytes: u64) {
        self.record.received_bytes += bytes;
        self.counts().received += datagrams;
        self.series.passed(bytes, 0);
        self.series.passed_datagrams(datagrams, 0);
    }

    /// Datagrams of the endpoint have gone to the client.
    pub(super) fn note_replied(&mut self, datagrams: u64, bytes: u64) {
        self.record.sent_bytes += bytes;
        self.counts().sent += datagrams;
        self.series.passed(0, bytes);
        self.series.passed_datagrams(0, datagrams);
    }

    fn counts(&mut self) -> &mut Datagrams {
        self.record.datagrams.get_or_insert_default()
    }
}

/// A socket that is connected to an endpoint.
///
/// # Errors
/// When the process has no descriptor left, the system no local port, or when there is no way to the endpoint.
pub(super) fn connect(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(endpoint);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.connect(&endpoint.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_asked_of_a_socket_that_had_more() {
        let mut pace = Pace::default();
        let asked = (1..=4).map(|round| {
            let asked = pace.asks(round);
            pace.got(asked, asked);
            asked
        });
        assert_eq!(asked.collect::<Vec<_>>(), [1, 2, 4, 8]);
    }

    #[test]
    fn one_datagram_now_and_then_is_asked_for_alone() {
        let mut pace = Pace::default();
        for round in [1, 5, 9] {
            assert_eq!(pace.asks(round), 1);
            pace.got(1, 1);
        }
    }

    #[test]
    fn less_is_asked_of_a_socket_that_had_less() {
        let mut pace = Pace {
            asks: 16,
            was_full: false,
            round: 0,
        };
        assert_eq!(pace.asks(1), 16);
        assert!(!pace.got(16, 9));
        assert_eq!(pace.asks(2), 16);
        pace.got(16, 3);
        assert_eq!(pace.asks(3), 8);
    }
}

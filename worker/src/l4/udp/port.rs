//! A UDP port on one thread: its socket, and what has been dropped there.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::dropped::Dropped;
use super::envelope::SocketOption;
use super::flow::Pace;
use super::share::UdpPort;
use super::syscalls;
use crate::metrics::UdpPortCounts;
use crate::thread::Open;

/// A port that a thread is to serve.
#[derive(Debug)]
pub(crate) struct Datagrams {
    pub(crate) bind_port: u16,
    pub(crate) socket: UdpSocket,
    pub(crate) share: Arc<UdpPort>,
    /// Dropped when the socket is closed.
    pub(crate) closed: mpsc::Sender<()>,
}

/// Has a socket tell to which address each datagram was sent if it is to be bound to all of them, since replies must
/// leave from that one. To be called before it is bound: a datagram may come at once.
///
/// # Errors
/// When the kernel does not know the option.
pub(crate) fn tell_local_addresses(socket: BorrowedFd<'_>, bind: SocketAddr) -> io::Result<()> {
    match bind {
        _ if !bind.ip().is_unspecified() => Ok(()),
        SocketAddr::V4(_) => syscalls::switch_on(socket, SocketOption::LocalAddressV4),
        SocketAddr::V6(_) => syscalls::switch_on(socket, SocketOption::LocalAddressV6),
    }
}

/// A port that the thread serves.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) bind_port: u16,
    pub(super) socket: UdpSocket,
    pub(super) share: Arc<UdpPort>,
    pub(super) bound: SocketAddr,
    pub(super) pace: Pace,
    pub(super) counts: Arc<UdpPortCounts>,
    _closed: mpsc::Sender<()>,
    _open: Open,
}

impl Port {
    /// # Errors
    /// When the socket is not bound.
    pub(super) fn new(
        datagrams: Datagrams,
        counts: Arc<UdpPortCounts>,
        open: Open,
    ) -> io::Result<Self> {
        let Datagrams {
            bind_port,
            socket,
            share,
            closed,
        } = datagrams;
        let bound = socket.local_addr()?;
        // Where the kernel does not know it, datagrams come one by one.
        let _ = syscalls::switch_on(socket.as_fd(), SocketOption::Trains);
        Ok(Self {
            bind_port,
            socket,
            share,
            bound,
            pace: Pace::default(),
            counts,
            _closed: closed,
            _open: open,
        })
    }

    pub(super) fn dropped(&self, reason: Dropped, datagrams: u64) {
        self.counts.dropped(reason, datagrams);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::super::inbox::{Inbox, SLOTS};
    use crate::listen::{BindPolicy, PortPolicy, bind_udp};

    use super::*;

    /// To which addresses the datagrams were sent that came before a thread has looked at its socket.
    fn locals(bind: IpAddr, asked: &str) -> Vec<Option<IpAddr>> {
        let policy = PortPolicy {
            address: bind,
            policy: BindPolicy::Any,
            privileged_ports: false,
        };
        let (bound, sockets) = bind_udp(&policy, 53, 2).unwrap();
        for _ in 0..16 {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(b"x", (asked, bound.port())).unwrap();
        }
        let mut inbox = Inbox::new();
        for socket in &sockets {
            let _ = inbox.receive(socket, SLOTS);
        }
        let received = 0..SLOTS - inbox.room();
        received.map(|slot| inbox.envelope(slot).local()).collect()
    }

    #[test]
    fn a_datagram_that_comes_before_its_thread_looks_has_the_address_that_it_was_sent_to() {
        let here = Some(IpAddr::from([127, 0, 0, 2]));
        assert_eq!(
            locals(Ipv4Addr::UNSPECIFIED.into(), "127.0.0.2"),
            [here; 16]
        );
        let mapped = Ipv4Addr::new(127, 0, 0, 3).to_ipv6_mapped();
        let here = Some(IpAddr::from(mapped));
        assert_eq!(
            locals(Ipv6Addr::UNSPECIFIED.into(), "127.0.0.3"),
            [here; 16]
        );
    }
}

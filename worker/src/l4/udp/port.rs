//! A UDP port on one thread: its socket, and what has been dropped there.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
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
    /// When the socket cannot tell to which address a datagram was sent although it has several: replies would leave
    /// from another one.
    pub(super) fn new(
        datagrams: Datagrams,
        counts: Arc<UdpPortCounts>,
        open: Open,
    ) -> std::io::Result<Self> {
        let Datagrams {
            bind_port,
            socket,
            share,
            closed,
        } = datagrams;
        let bound = socket.local_addr()?;
        if bound.ip().is_unspecified() {
            let option = match bound {
                SocketAddr::V4(_) => SocketOption::LocalAddressV4,
                SocketAddr::V6(_) => SocketOption::LocalAddressV6,
            };
            syscalls::switch_on(socket.as_fd(), option)?;
        }
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

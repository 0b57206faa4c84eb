//! Binding a port, once per data thread.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;

use socket2::{Domain, Protocol, Socket, Type};

use crate::l4::udp::tell_local_addresses;

/// How far above a port [`BindPolicy::NextFree`] looks.
const NEXT_FREE_MAX: u16 = 100;

/// Room for datagrams that wait for a thread, on each of its sockets.
const UDP_RECEIVE_BYTES: usize = 4 << 20;

/// What is added to a port below 1024 where those are not bound.
const PRIVILEGED_OFFSET: u16 = 8000;

/// What happens where a port is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindPolicy {
    /// The snapshot is refused.
    Exact,
    /// The next free port above it is bound, and reported.
    NextFree,
    /// The kernel chooses any free port from the start, which is reported: for tests.
    Any,
}

/// Where listeners are bound.
#[derive(Debug, Clone, Copy)]
pub struct PortPolicy {
    /// The address of all listeners.
    pub address: IpAddr,
    /// What happens where a port is taken.
    pub policy: BindPolicy,
    /// Whether ports below 1024 are bound as they are; else 8000 is added: 80 becomes 8080.
    pub privileged_ports: bool,
}

/// What a port is of: ports of the two are bound apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Why a port is not bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has it.
    #[error(
        "{transport} port {port} of {address} is in use: stop the process that listens there, or choose another port"
    )]
    InUse {
        /// What the port is of.
        transport: Transport,
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// Ports below 1024 are for root.
    #[error("{transport} port {port} of {address} needs the capability NET_BIND_SERVICE")]
    Forbidden {
        /// What the port is of.
        transport: Transport,
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// The system refused for another reason.
    #[error("binding {transport} port {port} of {address} failed")]
    Other {
        /// What the port is of.
        transport: Transport,
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl PortPolicy {
    /// The port that is tried first for a listener's port.
    pub(crate) fn first_choice(&self, port: u16) -> u16 {
        match self.policy {
            BindPolicy::Any => 0,
            _ if port < 1024 && !self.privileged_ports => port + PRIVILEGED_OFFSET,
            _ => port,
        }
    }
}

/// Binds a TCP port `count` times, for as many threads.
///
/// # Errors
/// When neither the port nor, by policy, one above it can be bound.
pub(crate) fn bind(
    policy: &PortPolicy,
    port: u16,
    count: usize,
    backlog: i32,
) -> Result<(SocketAddr, Vec<TcpListener>), BindError> {
    let bind = |address| {
        let (bound, sockets) = bind_all(Transport::Tcp, address, count)?;
        let listeners = sockets.into_iter().map(|socket| {
            socket.listen(backlog)?;
            Ok(TcpListener::from(socket))
        });
        Ok((bound, listeners.collect::<io::Result<_>>()?))
    };
    bind_by(policy, Transport::Tcp, port, bind)
}

/// Binds a UDP port `count` times, for as many threads.
///
/// # Errors
/// As [`bind`].
pub(crate) fn bind_udp(
    policy: &PortPolicy,
    port: u16,
    count: usize,
) -> Result<(SocketAddr, Vec<UdpSocket>), BindError> {
    let bind = |address| {
        let (bound, sockets) = bind_all(Transport::Udp, address, count)?;
        let sockets = sockets.into_iter().map(|socket| {
            // The kernel gives as much as the system allows.
            socket.set_recv_buffer_size(UDP_RECEIVE_BYTES)?;
            Ok(UdpSocket::from(socket))
        });
        Ok((bound, sockets.collect::<io::Result<_>>()?))
    };
    bind_by(policy, Transport::Udp, port, bind)
}

fn bind_by<S>(
    policy: &PortPolicy,
    transport: Transport,
    port: u16,
    bind: impl Fn(SocketAddr) -> io::Result<S>,
) -> Result<S, BindError> {
    let first = policy.first_choice(port);
    let last = match policy.policy {
        BindPolicy::NextFree => first.saturating_add(NEXT_FREE_MAX),
        BindPolicy::Exact | BindPolicy::Any => first,
    };
    let mut refused = None;
    for port in first..=last {
        match bind(SocketAddr::new(policy.address, port)) {
            Ok(bound) => return Ok(bound),
            Err(source) => {
                let error = || BindError::new(transport, policy.address, port, source);
                refused.get_or_insert_with(error);
            }
        }
    }
    Err(refused.expect("at least one port was tried"))
}

impl BindError {
    fn new(transport: Transport, address: IpAddr, port: u16, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse {
                transport,
                address,
                port,
            },
            io::ErrorKind::PermissionDenied => Self::Forbidden {
                transport,
                address,
                port,
            },
            _ => Self::Other {
                transport,
                address,
                port,
                source,
            },
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

fn bind_all(
    transport: Transport,
    address: SocketAddr,
    count: usize,
) -> io::Result<(SocketAddr, Vec<Socket>)> {
    // Sockets with SO_REUSEPORT share a port with another worker's silently, so one without asks first.
    let probe = socket(transport, address, false)?;
    probe.bind(&address.into())?;
    let bound = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    let sockets = (0..count).map(|_| {
        let socket = socket(transport, bound, true)?;
        if transport == Transport::Udp {
            tell_local_addresses(socket.as_fd(), bound)?;
        }
        socket.bind(&bound.into())?;
        Ok(socket)
    });
    Ok((bound, sockets.collect::<io::Result<_>>()?))
}

fn socket(transport: Transport, address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    // A port whose connections linger can be listened on again; of UDP it would be shared with anybody.
    if transport == Transport::Tcp {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn policy(policy: BindPolicy) -> PortPolicy {
        PortPolicy {
            address: Ipv4Addr::LOCALHOST.into(),
            policy,
            privileged_ports: false,
        }
    }

    #[test]
    fn a_busy_port_is_refused_or_passed_over() {
        let (taken, _listeners) = bind(&policy(BindPolicy::Any), 80, 2, 16).unwrap();
        let refused = bind(&policy(BindPolicy::Exact), taken.port(), 1, 16);
        assert!(matches!(refused, Err(BindError::InUse { port, .. }) if port == taken.port()));
        let (next, _) = bind(&policy(BindPolicy::NextFree), taken.port(), 1, 16).unwrap();
        assert!(next.port() > taken.port(), "{next}");
    }

    #[test]
    fn udp_and_tcp_have_a_port_of_their_own_each() {
        let (tcp, _listeners) = bind(&policy(BindPolicy::Any), 80, 2, 16).unwrap();
        let (udp, _sockets) = bind_udp(&policy(BindPolicy::Exact), tcp.port(), 2).unwrap();
        assert_eq!(udp, tcp);
        let refused = bind_udp(&policy(BindPolicy::Exact), udp.port(), 1).unwrap_err();
        let port = udp.port();
        assert_eq!(
            refused.to_string(),
            format!(
                "UDP port {port} of 127.0.0.1 is in use: stop the process that listens there, or choose another port"
            )
        );
        let (next, _) = bind_udp(&policy(BindPolicy::NextFree), port, 1).unwrap();
        assert!(next.port() > port, "{next}");
    }

    #[test]
    fn ports_of_root_are_moved_up() {
        let exact = policy(BindPolicy::Exact);
        assert_eq!(exact.first_choice(443), 8443);
        assert_eq!(exact.first_choice(8080), 8080);
        assert_eq!(
            PortPolicy {
                privileged_ports: true,
                ..exact
            }
            .first_choice(80),
            80
        );
    }
}

//! Binding a port, once per data thread.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How far above a port [`BindPolicy::NextFree`] looks.
const NEXT_FREE_MAX: u16 = 100;

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

/// Why a port is not bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has it.
    #[error(
        "port {port} of {address} is in use: stop the process that listens there, or choose another port"
    )]
    InUse {
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// Ports below 1024 are for root.
    #[error("port {port} of {address} needs the capability NET_BIND_SERVICE")]
    Forbidden {
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// The system refused for another reason.
    #[error("binding port {port} of {address} failed")]
    Other {
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

/// Binds a port `count` times, for as many threads.
///
/// # Errors
/// When neither the port nor, by policy, one above it can be bound.
pub(crate) fn bind(
    policy: &PortPolicy,
    port: u16,
    count: usize,
    backlog: i32,
) -> Result<(SocketAddr, Vec<TcpListener>), BindError> {
    let first = policy.first_choice(port);
    let last = match policy.policy {
        BindPolicy::NextFree => first.saturating_add(NEXT_FREE_MAX),
        BindPolicy::Exact | BindPolicy::Any => first,
    };
    let mut refused = None;
    for port in first..=last {
        match bind_all(SocketAddr::new(policy.address, port), count, backlog) {
            Ok(bound) => return Ok(bound),
            Err(source) => {
                refused.get_or_insert_with(|| BindError::new(policy.address, port, source));
            }
        }
    }
    Err(refused.expect("at least one port was tried"))
}

impl BindError {
    fn new(address: IpAddr, port: u16, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address, port },
            io::ErrorKind::PermissionDenied => Self::Forbidden { address, port },
            _ => Self::Other {
                address,
                port,
                source,
            },
        }
    }
}

fn bind_all(
    address: SocketAddr,
    count: usize,
    backlog: i32,
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // Sockets with SO_REUSEPORT share a port with another worker's silently, so one without asks first.
    let probe = socket(address, false)?;
    probe.bind(&address.into())?;
    let bound = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    let listeners = (0..count).map(|_| {
        let socket = socket(bound, true)?;
        socket.bind(&bound.into())?;
        socket.listen(backlog)?;
        Ok(TcpListener::from(socket))
    });
    Ok((bound, listeners.collect::<io::Result<_>>()?))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
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

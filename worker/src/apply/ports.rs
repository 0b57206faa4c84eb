//! The ports of the snapshot in use: bound, served by every thread, closed when no listener asks for them any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tidegate_ir::{Listener, ListenerProtocol, PartKey, PartKind, Snapshot};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::l4::udp::{Datagrams, UdpPort};
use crate::listen::{BindError, PortPolicy, Transport, bind, bind_udp};
use crate::thread::Command;
use crate::update::{PartProblem, Refusal};

/// The longest that the sockets of an unused port are waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A port by what it is of and its number in the snapshot.
type PortName = (Transport, u16);

/// The ports that are bound.
#[derive(Debug)]
pub(super) struct Ports {
    policy: PortPolicy,
    backlog: i32,
    /// Ends accepting on every port.
    accepting: CancellationToken,
    bound: BTreeMap<PortName, BoundPort>,
    /// UDP ports without a listener whose flows go on.
    draining: BTreeMap<u16, BoundPort>,
}

/// Ports that a snapshot needs beside those that are served.
#[derive(Debug, Default)]
pub(super) struct NewPorts {
    ports: Vec<NewPort>,
    /// UDP ports that were draining.
    revived: Vec<u16>,
}

#[derive(Debug)]
struct BoundPort {
    address: SocketAddr,
    life: Life,
    /// Ends when every thread has closed its socket.
    sockets: mpsc::Receiver<()>,
}

/// What ends a port.
#[derive(Debug)]
enum Life {
    Tcp(CancellationToken),
    Udp(Arc<UdpPort>),
}

/// A port that is bound but not yet served.
#[derive(Debug)]
struct NewPort {
    port: u16,
    address: SocketAddr,
    sockets: Sockets,
}

/// One for each thread.
#[derive(Debug)]
enum Sockets {
    Tcp(Vec<TcpListener>),
    Udp(Vec<UdpSocket>),
}

impl Ports {
    pub(super) fn new(policy: PortPolicy, backlog: i32) -> Self {
        Self {
            policy,
            backlog,
            accepting: CancellationToken::new(),
            bound: BTreeMap::new(),
            draining: BTreeMap::new(),
        }
    }

    /// Where a listener's port is bound.
    pub(super) fn address(&self, listener: &Listener) -> Option<SocketAddr> {
        self.bound.get(&port_of(listener)).map(|port| port.address)
    }

    /// Binds the ports that a snapshot needs and that are not served yet, `count` times each.
    ///
    /// # Errors
    /// When one of them cannot be bound; then none is.
    pub(super) async fn bind_new(
        &mut self,
        snapshot: &Snapshot,
        count: usize,
    ) -> Result<NewPorts, Refusal> {
        let (mut new, mut problems) = (NewPorts::default(), Vec::new());
        let wanted = ports(snapshot);
        let wanted = wanted
            .into_iter()
            .filter(|port| !self.bound.contains_key(port));
        let mut wanted: Vec<PortName> = wanted.collect();
        // Port 80, which is moved to 8080, does not take it from a listener that asks for 8080.
        wanted.sort_by_key(|(_, port)| self.policy.first_choice(*port) != *port);
        for (transport, port) in wanted {
            if transport == Transport::Udp && self.revive(port).await {
                new.revived.push(port);
                continue;
            }
            match self.bind(transport, port, count) {
                Ok(bound) => new.ports.push(bound),
                Err(error) => {
                    problems.extend(of_port(snapshot, (transport, port), &with_cause(&error)))
                }
            }
        }
        if problems.is_empty() {
            return Ok(new);
        }
        for port in new.revived {
            self.draining[&port].stop();
        }
        Err(Refusal::Problems(problems))
    }

    fn bind(&self, transport: Transport, port: u16, count: usize) -> Result<NewPort, BindError> {
        let (address, sockets) = match transport {
            Transport::Tcp => {
                let (address, listeners) = bind(&self.policy, port, count, self.backlog)?;
                (address, Sockets::Tcp(listeners))
            }
            Transport::Udp => {
                let (address, sockets) = bind_udp(&self.policy, port, count)?;
                (address, Sockets::Udp(sockets))
            }
        };
        Ok(NewPort {
            port,
            address,
            sockets,
        })
    }

    /// Whether a draining UDP port serves again. One that has closed meanwhile is free when this returns.
    async fn revive(&mut self, port: u16) -> bool {
        let Some(draining) = self.draining.get_mut(&port) else {
            return false;
        };
        if draining.life.revive() {
            return true;
        }
        draining.wait(port).await;
        self.draining.remove(&port);
        false
    }

    /// Has the threads serve new ports.
    pub(super) async fn serve(&mut self, new: NewPorts, threads: &[mpsc::Sender<Command>]) {
        for port in new.revived {
            if let Some(bound) = self.draining.remove(&port) {
                tracing::info!(port, address = %bound.address, "a UDP port that was closing serves on");
                self.bound.insert((Transport::Udp, port), bound);
            }
        }
        for NewPort {
            port,
            address,
            sockets,
        } in new.ports
        {
            let (closed, closes) = mpsc::channel(1);
            let (transport, life, commands) = match sockets {
                Sockets::Tcp(listeners) => self.tcp(port, listeners, &closed),
                Sockets::Udp(sockets) => udp(port, sockets, &closed),
            };
            tracing::info!(port, %transport, %address, "listening");
            for (thread, command) in threads.iter().zip(commands) {
                // Only a shutdown ends threads.
                let _ = thread.send(command).await;
            }
            let bound = BoundPort {
                address,
                life,
                sockets: closes,
            };
            self.bound.insert((transport, port), bound);
        }
    }

    fn tcp(
        &self,
        bind_port: u16,
        listeners: Vec<TcpListener>,
        closed: &mpsc::Sender<()>,
    ) -> (Transport, Life, Vec<Command>) {
        let stop = self.accepting.child_token();
        let commands = listeners.into_iter().map(|listener| Command::Listen {
            bind_port,
            listener,
            stop: stop.clone(),
            socket: closed.clone(),
        });
        let commands = commands.collect();
        (Transport::Tcp, Life::Tcp(stop), commands)
    }

    /// Closes the ports that no listener asks for any more; open connections and flows go on until they end.
    /// Waits for the sockets, so that a snapshot that asks for the port again finds it free.
    pub(super) async fn stop_unused(&mut self, snapshot: &Snapshot) {
        let used = ports(snapshot);
        let unused = self.bound.extract_if(.., |port, _| !used.contains(port));
        let unused: Vec<_> = unused.collect();
        for ((transport, port), bound) in &unused {
            tracing::info!(port, %transport, address = %bound.address, "closing a port without listeners");
            bound.stop();
        }
        for ((_, port), mut bound) in unused {
            if bound.life.goes_on() {
                self.draining.insert(port, bound);
            } else {
                bound.wait(port).await;
            }
        }
        self.draining.retain(|_, bound| bound.life.goes_on());
    }

    /// Takes no new connections and flows from now on.
    pub(super) fn stop(&self) {
        self.accepting.cancel();
        for bound in self.bound.values() {
            bound.stop();
        }
    }
}

fn udp(
    bind_port: u16,
    sockets: Vec<UdpSocket>,
    closed: &mpsc::Sender<()>,
) -> (Transport, Life, Vec<Command>) {
    let share = Arc::new(UdpPort::default());
    let commands = sockets.into_iter().map(|socket| {
        Command::ListenUdp(Datagrams {
            bind_port,
            socket,
            share: share.clone(),
            closed: closed.clone(),
        })
    });
    let commands = commands.collect();
    (Transport::Udp, Life::Udp(share), commands)
}

impl BoundPort {
    fn stop(&self) {
        match &self.life {
            Life::Tcp(stop) => stop.cancel(),
            Life::Udp(share) => share.drain(),
        }
    }

    /// Waits until the threads have closed their sockets.
    async fn wait(&mut self, port: u16) {
        let closed = tokio::time::timeout(CLOSE_TIMEOUT, self.sockets.recv());
        if closed.await.is_err() {
            tracing::warn!(port, "a thread has not closed its socket yet");
        }
    }
}

impl Life {
    /// Whether its socket stays although it takes nothing new.
    fn goes_on(&self) -> bool {
        matches!(self, Self::Udp(share) if !share.is_closed())
    }

    fn revive(&self) -> bool {
        matches!(self, Self::Udp(share) if share.revive())
    }
}

fn port_of(listener: &Listener) -> PortName {
    let transport = match listener.protocol {
        ListenerProtocol::Udp => Transport::Udp,
        ListenerProtocol::Http
        | ListenerProtocol::Https { .. }
        | ListenerProtocol::Tls(_)
        | ListenerProtocol::Tcp => Transport::Tcp,
    };
    (transport, listener.bind_port)
}

fn ports(snapshot: &Snapshot) -> BTreeSet<PortName> {
    snapshot.listeners().map(port_of).collect()
}

fn of_port(snapshot: &Snapshot, port: PortName, message: &str) -> Vec<PartProblem> {
    let listeners = snapshot
        .listeners()
        .filter(|listener| port_of(listener) == port);
    let problem = |listener: &Listener| PartProblem {
        part: Some(PartKey::new(PartKind::Listener, listener.name.clone())),
        message: message.to_owned(),
    };
    listeners.map(problem).collect()
}

fn with_cause(error: &BindError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

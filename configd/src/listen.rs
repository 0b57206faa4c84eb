//! Accepts gRPC connections: plaintext or mTLS, each with what it proves about its other end.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tidegate_runtime::identity::{Credentials, Role};
use tidegate_runtime::tasks::Tasks;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::caller::Caller;
pub(crate) use connection::Connection;

/// Connections at a time, those in their handshake among them; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 4_096;

/// Connections that the system keeps until they are accepted, if its `net.core.somaxconn` lets it: a whole fleet that
/// comes back at once. Beyond it the system drops what arrives, and some of those see a reset.
const SYSTEM_BACKLOG: u32 = 4_096;

/// Accepted connections that may wait for the server.
const BACKLOG: usize = 16;

/// Pause after the system could not accept, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How clients are told apart on a listening address.
#[derive(Debug, Clone, Default)]
pub enum Security {
    /// Not at all; everybody may do everything.
    #[default]
    Plaintext,
    /// By their certificates.
    MutualTls(Credentials),
}

/// Listens on `address`.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Who starts again takes its port although connections of before still end.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(SYSTEM_BACKLOG)
}

/// The connections of a listener, until `end` or until nobody takes them; over mTLS those of one role only where that
/// is given.
pub(crate) fn connections(
    listener: TcpListener,
    (security, role): (Security, Option<Role>),
    tasks: &Tasks,
    end: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let (accepted, connections) = mpsc::channel(BACKLOG);
    let acceptor = Acceptor {
        security,
        role,
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        accepted,
        tasks: tasks.clone(),
        end,
    };
    tasks.spawn("gRPC accept", acceptor.run(listener));
    ReceiverStream::new(connections)
}

#[derive(Clone)]
struct Acceptor {
    security: Security,
    /// What the other end must be; anything of the table where it is `None`.
    role: Option<Role>,
    places: Arc<Semaphore>,
    accepted: mpsc::Sender<io::Result<Connection>>,
    tasks: Tasks,
    end: CancellationToken,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let end = self.end.clone();
        let accepted = self.accepted.clone();
        tokio::select! {
            () = end.cancelled() => {}
            () = accepted.closed() => {}
            () = self.accept(listener) => {}
        }
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let acceptor = self.clone();
                    self.tasks
                        .spawn("gRPC handshake", acceptor.hand_over(stream, address, place));
                }
                Err(error) => {
                    warn!(%error, "A gRPC connection could not be accepted.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn hand_over(self, stream: TcpStream, address: SocketAddr, place: OwnedSemaphorePermit) {
        let shaking = self.shake_hands(stream, address, place);
        let Some(Some(connection)) = self.end.run_until_cancelled(shaking).await else {
            return;
        };
        // Nobody takes it where the server has stopped.
        let _ = self.accepted.send(Ok(connection)).await;
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> Option<Connection> {
        // Without it answers are later, but right.
        let _ = stream.set_nodelay(true);
        match &self.security {
            Security::Plaintext => {
                let caller = Caller::Plaintext(address);
                Some(Connection::new(stream, caller).holding(place))
            }
            Security::MutualTls(credentials) => {
                let met = match self.role {
                    Some(role) => credentials.accept_only(role, stream).await,
                    None => credentials.accept(stream).await,
                };
                match met {
                    Ok((stream, peer)) => {
                        let connection = Connection::new(stream, Caller::Peer(peer.identity));
                        let end = peer.not_after_unix_s;
                        Some(connection.holding(place).ending_at(end))
                    }
                    Err(error) => {
                        warn!(%address, cause = crate::error::chain(&error), "A gRPC connection is refused.");
                        None
                    }
                }
            }
        }
    }
}

//! Accepting connections on a thread's socket, and serving each until it ends.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::ended::Ended;
use super::open::{OfClient, OfPort, PortCount};
use super::serve::{Port, serve};
use crate::pressure::Level;
use crate::terms::Terms;
use crate::thread::{Open, Thread};

/// Connections that are begun before those that are there have their turn: a burst of new ones must not keep them
/// waiting.
const ACCEPTED_IN_A_TURN: usize = 8;

/// A port's socket on one thread.
struct Socket {
    port: Rc<Port>,
    /// Of all threads.
    port_count: PortCount,
    /// Of this one, for the metrics.
    open_connections: Arc<AtomicI64>,
}

/// What a connection holds while it is open.
struct Held {
    open_connections: Arc<AtomicI64>,
    _of_port: OfPort,
    _of_client: Option<OfClient>,
    _open: Open,
}

/// Accepts connections until `stop`; those that the kernel has accepted by then are served too.
pub(crate) async fn accept(
    thread: Rc<Thread>,
    bind_port: u16,
    listener: std::net::TcpListener,
    stop: CancellationToken,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(bind_port, %error, "a bound port cannot be used");
            return;
        }
    };
    let port_count = thread.open_connections.port(bind_port);
    let open_connections = thread.metrics.connections(bind_port);
    let port = Port {
        thread,
        bind_port,
        stop: stop.clone(),
    };
    let socket = Socket {
        port: Rc::new(port),
        port_count,
        open_connections,
    };
    for count in 1_usize.. {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        if let Err(error) = socket.start(accepted) {
            tracing::warn!(bind_port, %error, "accepting a connection failed");
            // Out of descriptors, most likely: trying again at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if count.is_multiple_of(ACCEPTED_IN_A_TURN) {
            tokio::task::yield_now().await;
        }
    }
    // Closing the socket would reset the connections that the kernel has accepted already.
    while let Some(accepted) = listener.accept().now_or_never()
        && socket.start(accepted).is_ok()
    {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Socket {
    /// Serves an accepted connection, unless there is a reason to close it at once.
    fn start(&self, accepted: std::io::Result<(TcpStream, SocketAddr)>) -> std::io::Result<()> {
        let (stream, peer) = accepted?;
        let terms = self.port.thread.terms(self.port.bind_port);
        match self.admit(peer, &terms) {
            Ok(held) => {
                let serving = serve(self.port.clone(), stream, peer, terms);
                tokio::task::spawn_local(async move {
                    serving.await;
                    drop(held);
                });
            }
            Err(ended) => {
                self.port.ended(peer, ended);
            }
        }
        Ok(())
    }

    fn admit(&self, peer: SocketAddr, terms: &Terms) -> Result<Held, Ended> {
        let thread = &self.port.thread;
        if thread.pressure.level() > Level::None {
            return Err(Ended::ShortOfMemory);
        }
        let of_port = self.port_count.enter(terms.limits.connections_max)?;
        // Behind a PROXY header, the client is not known yet.
        let of_client = match terms.edge.proxy_protocol {
            true => None,
            false => self.port.enter_client(peer, terms)?,
        };
        self.open_connections.fetch_add(1, Ordering::Relaxed);
        Ok(Held {
            open_connections: self.open_connections.clone(),
            _of_port: of_port,
            _of_client: of_client,
            _open: thread.open(),
        })
    }
}

//! A gRPC connection that never leaves the process, for the standalone mode and for tests.

use std::io;

use futures_util::Stream;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::caller::Caller;
use crate::listen::Connection;

/// Bytes that may wait in each direction of a connection.
const BUFFER_BYTES: usize = 1 << 20;

/// Connections that may wait to be accepted.
const BACKLOG: usize = 16;

/// Opens connections to a server in the same process; clones reach the same server.
#[derive(Debug, Clone)]
pub(crate) struct InProcess {
    connections: mpsc::Sender<io::Result<Connection>>,
}

impl InProcess {
    /// A connector, and the connections that its server accepts.
    pub(crate) fn new() -> (Self, impl Stream<Item = io::Result<Connection>> + use<>) {
        let (connections, accepted) = mpsc::channel(BACKLOG);
        (Self { connections }, ReceiverStream::new(accepted))
    }

    /// A channel that connects when it is first used, and again whenever a connection ends.
    pub(crate) fn channel(&self) -> Channel {
        let connections = self.connections.clone();
        let connector = tower::service_fn(move |_| {
            let connections = connections.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
                let closed =
                    |_| io::Error::new(io::ErrorKind::ConnectionRefused, "configd has stopped");
                let theirs = Connection::new(theirs, Caller::InProcess);
                connections.send(Ok(theirs)).await.map_err(closed)?;
                Ok::<_, io::Error>(TokioIo::new(ours))
            }
        });
        Endpoint::from_static("http://in-process").connect_with_connector_lazy(connector)
    }
}

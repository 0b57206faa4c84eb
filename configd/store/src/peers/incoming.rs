//! The connections that other nodes make, however they are accepted.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
};
use tonic::transport::server::{Connected, TcpIncoming};

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// Connections of other nodes. Whoever makes this has seen to it that they are other nodes; messages are checked besides.
pub struct Incoming(Connections);

/// What the server takes them from.
type Connections = Pin<Box<dyn Stream<Item = io::Result<Accepted>> + Send>>;

/// One of them.
pub(crate) struct Accepted(Pin<Box<dyn Io>>);

impl Incoming {
    /// Connections that have proved who they are. It is dropped when the node stops listening.
    pub fn new<S, T>(connections: S) -> Self
    where
        S: Stream<Item = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let accepted = |connection: io::Result<T>| Ok(Accepted(Box::pin(connection?)));
        Self(Box::pin(connections.map(accepted)))
    }

    /// TCP without identity, for networks that only the cluster can reach.
    pub fn plain(listener: TcpListener) -> Self {
        Self::new(TcpIncoming::from(listener).with_nodelay(Some(true)))
    }

    pub(crate) fn into_connections(self) -> Connections {
        self.0
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").finish_non_exhaustive()
    }
}

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}

//! A connection that knows its caller, and ends with the caller's certificate.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use crate::caller::Caller;
use crate::clock;

/// The longest that a connection lives, whatever its certificate says; timers reach no further.
const LIFE_S_MAX: u64 = 397 * 24 * 3_600;

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// Bytes both ways, and whom they are exchanged with.
pub(crate) struct Connection {
    io: Pin<Box<dyn Io>>,
    caller: Caller,
    /// When the caller's certificate ends.
    end: Option<Pin<Box<Sleep>>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    pub(crate) fn new(io: impl AsyncRead + AsyncWrite + Send + 'static, caller: Caller) -> Self {
        Self {
            io: Box::pin(io),
            caller,
            end: None,
            _place: None,
        }
    }

    /// The place among all connections, which is free again when this one ends.
    pub(crate) fn holding(mut self, place: OwnedSemaphorePermit) -> Self {
        self._place = Some(place);
        self
    }

    /// Ends at this time: a stream of years must not outlive its certificate of days.
    pub(crate) fn ending_at(mut self, unix_s: i64) -> Self {
        let left = u64::try_from(unix_s - clock::unix_s()).unwrap_or(0);
        let left = Duration::from_secs(left.min(LIFE_S_MAX));
        self.end = Some(Box::pin(tokio::time::sleep(left)));
        self
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(cx).is_ready()
        {
            let text = "the caller's certificate has expired";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        self.io.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}

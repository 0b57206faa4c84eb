//! A connection to a backend that gives only so many bytes before the head of an answer: interim answers
//! without an end are not listened to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What may still be read; whoever waits for an answer sets it.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<AtomicU64>);

/// A connection with a meter.
#[derive(Debug)]
pub(super) struct Metered<I> {
    io: I,
    meter: Meter,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// At most so many bytes come from now on.
    pub(super) fn bound(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// Any number of bytes may come.
    pub(super) fn lift(&self) {
        self.bound(u64::MAX);
    }
}

impl<I> Metered<I> {
    pub(super) fn new(io: I, meter: Meter) -> Self {
        Self { io, meter }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Metered<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        // The thread is the only one that reads and sets it.
        let left = self.meter.0.load(Ordering::Relaxed);
        match left.checked_sub(read) {
            Some(_) if left == u64::MAX => Poll::Ready(Ok(())),
            Some(rest) => {
                self.meter.bound(rest);
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(io::Error::other(
                "too many bytes before the head of an answer",
            ))),
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Metered<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

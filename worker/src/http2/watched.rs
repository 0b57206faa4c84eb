//! A client's socket whose frames are counted on their way in.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tidegate_codec::http2::FrameScan;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flow::Flow;

/// A socket; nothing is read of it any more once its client went beyond a bound.
#[derive(Debug)]
pub(super) struct Watched<I> {
    io: I,
    scan: FrameScan,
    flow: Rc<Flow>,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, flow: Rc<Flow>) -> Self {
        let scan = FrameScan::of_client();
        Self { io, scan, flow }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let watched = &mut *self;
        if watched.flow.excess().is_some() {
            // The connection's task sees to it.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut watched.io).poll_read(cx, buffer))?;
        let read = &buffer.filled()[before..];
        watched.flow.read(read.len());
        watched.scan.feed(read, |head| watched.flow.frame(head));
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
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

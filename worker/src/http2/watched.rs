//! A client's socket whose frames are counted on their way in, and read as the slow lane allows once they are many.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tidegate_codec::http2::FrameScan;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flow::Flow;
use crate::lane::{Lane, Place};

/// Bytes that may come in one go before what follows them has to take the slow lane: heads of requests do not get there,
/// bodies and floods do.
const QUICK_BYTES_MAX: usize = 8 << 10;

/// A socket; nothing is read of it any more once its client went beyond a bound.
#[derive(Debug)]
pub(super) struct Watched<I> {
    io: I,
    scan: FrameScan,
    flow: Rc<Flow>,
    lane: Lane,
    place: Place,
    /// Bytes that were read since there were none to read.
    in_one_go: usize,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, flow: Rc<Flow>, lane: Lane) -> Self {
        Self {
            io,
            scan: FrameScan::of_client(),
            flow,
            lane,
            place: Place::default(),
            in_one_go: 0,
        }
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
        if watched.in_one_go > QUICK_BYTES_MAX {
            ready!(watched.lane.poll_pass(&watched.place, cx));
        }
        let before = buffer.filled().len();
        let Poll::Ready(result) = Pin::new(&mut watched.io).poll_read(cx, buffer) else {
            watched.in_one_go = 0;
            return Poll::Pending;
        };
        result?;
        let read = &buffer.filled()[before..];
        watched.in_one_go += read.len();
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

//! A socket behind a buffer: the frames that one turn of the connection's task makes go out in one write.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait before they are written in the middle of a turn: as much as the kernel passes on as one.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// Bytes of a frame that is one of many, most likely: in plain text the buffer need not grow step by step for it, and
/// to TLS, which copies it into records of its own, it goes at once, behind what waits.
const BULK_BYTES_MIN: usize = 8 << 10;

/// Slices of one write; a frame comes in two.
const SLICES_MAX: usize = 4;

/// The socket; the frames' library and the connection's task share it.
#[derive(Debug)]
pub(crate) struct Wire<I>(Rc<RefCell<Shared<I>>>);

#[derive(Debug)]
struct Shared<I> {
    io: I,
    waiting: BytesMut,
    tls: bool,
    /// Whether the end of a turn sends what waits; until then every flush does.
    has_turns: bool,
}

impl<I> Wire<I> {
    pub(crate) fn new(io: I, tls: bool) -> Self {
        Self(Rc::new(RefCell::new(Shared {
            io,
            waiting: BytesMut::new(),
            tls,
            has_turns: false,
        })))
    }

    /// From now on a flush sends nothing, and [`Self::poll_end_turn`] does.
    pub(crate) fn begin_turns(&self) {
        self.0.borrow_mut().has_turns = true;
    }
}

impl<I> Clone for Wire<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I: AsyncWrite + Unpin> Wire<I> {
    /// Sends all that waits.
    pub(crate) fn poll_end_turn(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(cx)
    }
}

impl<I: AsyncWrite + Unpin> Shared<I> {
    /// Takes bytes into the buffer; as many as there is room for, once what waits has gone where there is none.
    fn poll_take(
        &mut self,
        slices: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        while self.waiting.len() >= WAITING_BYTES_MAX {
            ready!(self.poll_write(cx))?;
        }
        if self.tls && slices.iter().any(|slice| slice.len() >= BULK_BYTES_MIN) {
            return self.poll_pass(slices, cx);
        }
        let before = self.waiting.len();
        for slice in slices {
            let room = WAITING_BYTES_MAX - self.waiting.len();
            if slice.len() >= BULK_BYTES_MIN {
                self.waiting.reserve(room);
            }
            self.waiting
                .extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(Ok(self.waiting.len() - before))
    }

    /// Writes what waits and, in the same write, as much as goes of what comes behind it.
    fn poll_pass(
        &mut self,
        slices: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut all = [IoSlice::new(&[]); SLICES_MAX];
            let behind = slices.iter().map(|slice| IoSlice::new(slice));
            let both = [IoSlice::new(&self.waiting)].into_iter().chain(behind);
            let used = all.iter_mut().zip(both).map(|(slot, slice)| *slot = slice);
            let used = used.count();
            let io = Pin::new(&mut self.io);
            let written = ready!(io.poll_write_vectored(cx, &all[..used]))?;
            let of_waiting = written.min(self.waiting.len());
            self.waiting.advance(of_waiting);
            if written == 0 || written > of_waiting {
                return Poll::Ready(Ok(written - of_waiting));
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            ready!(self.poll_write(cx))?;
        }
        // A connection that waits for its next request has no memory for it.
        self.waiting = BytesMut::new();
        // TLS keeps records back until then.
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.waiting))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.waiting.advance(written);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Wire<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Wire<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(&[IoSlice::new(bytes)], cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(slices, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.0.borrow_mut();
        if shared.has_turns {
            return Poll::Ready(Ok(()));
        }
        shared.poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.0.borrow_mut();
        ready!(shared.poll_send(cx))?;
        Pin::new(&mut shared.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A socket that keeps each write apart.
    #[derive(Default)]
    struct Socket(Vec<Vec<u8>>);

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
            self.poll_write(cx, &all.concat())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Writes a frame as the library does, and flushes it.
    fn write(wire: &mut Wire<Socket>, mut frame: &[u8]) {
        let mut context = Context::from_waker(Waker::noop());
        while !frame.is_empty() {
            let written = Pin::new(&mut *wire).poll_write(&mut context, frame);
            let Poll::Ready(Ok(written)) = written else {
                panic!("{written:?}");
            };
            frame = &frame[written..];
        }
        assert!(Pin::new(wire).poll_flush(&mut context).is_ready());
    }

    fn written(wire: &Wire<Socket>) -> Vec<usize> {
        wire.0.borrow().io.0.iter().map(Vec::len).collect()
    }

    #[test]
    fn the_frames_of_one_turn_go_out_in_one_write() {
        let mut wire = Wire::new(Socket::default(), false);
        wire.begin_turns();
        write(&mut wire, &[1; 9]);
        write(&mut wire, &[2; 1000]);
        assert!(written(&wire).is_empty());
        let mut context = Context::from_waker(Waker::noop());
        assert!(wire.poll_end_turn(&mut context).is_ready());
        assert_eq!(written(&wire), [1009]);
    }

    #[test]
    fn a_long_turn_writes_full_buffers() {
        let mut wire = Wire::new(Socket::default(), false);
        wire.begin_turns();
        for _ in 0..9 {
            write(&mut wire, &[3; 16 << 10]);
        }
        assert_eq!(written(&wire), [64 << 10, 64 << 10]);
        let mut context = Context::from_waker(Waker::noop());
        assert!(wire.poll_end_turn(&mut context).is_ready());
        assert_eq!(written(&wire), [64 << 10, 64 << 10, 16 << 10]);
    }

    #[test]
    fn tls_gets_large_frames_at_once_behind_what_waits() {
        let mut wire = Wire::new(Socket::default(), true);
        wire.begin_turns();
        write(&mut wire, &[5; 100]);
        write(&mut wire, &[6; 16 << 10]);
        write(&mut wire, &[7; 10]);
        assert_eq!(written(&wire), [100 + (16 << 10)]);
        let mut context = Context::from_waker(Waker::noop());
        assert!(wire.poll_end_turn(&mut context).is_ready());
        assert_eq!(written(&wire), [100 + (16 << 10), 10]);
    }

    #[test]
    fn what_is_flushed_before_the_first_turn_goes_out_at_once() {
        let mut wire = Wire::new(Socket::default(), false);
        write(&mut wire, &[4; 9]);
        assert_eq!(written(&wire), [9]);
    }
}

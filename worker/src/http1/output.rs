//! What waits to be written to a socket: small pieces are joined, large ones are passed on as they are.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tidegate_codec::http1;
use tokio::io::AsyncWrite;

/// Pieces up to this many bytes are copied behind what waits: that costs less than another slice.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Bytes that wait before no more is taken from the other side: at first, and for a reader that has taken as many at once
/// again and again. Thousands that read nothing have little of their answers here, and each of them takes little time.
const WAITING_BYTES_MIN: usize = 8 << 10;
const WAITING_BYTES_MAX: usize = 64 << 10;

/// Slices of one write.
const SLICES_MAX: usize = 16;

/// A queue of bytes; it grows by one piece beyond its bound at most.
#[derive(Debug)]
pub(crate) struct Output {
    pieces: VecDeque<Bytes>,
    /// What comes behind the pieces.
    tail: BytesMut,
    /// Bytes of the pieces.
    pieces_len: usize,
    /// Bytes that are enough.
    bound: usize,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            pieces: VecDeque::new(),
            tail: BytesMut::new(),
            pieces_len: 0,
            bound: WAITING_BYTES_MIN,
        }
    }
}

impl Output {
    /// Where heads and small pieces are written to.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        if data.len() <= COPIED_BYTES_MAX {
            return self.tail.extend_from_slice(&data);
        }
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.push_piece(tail);
        }
        self.push_piece(data);
    }

    /// A chunk of a body in chunks; nothing where there is no data, since that would end it.
    pub(crate) fn push_chunk(&mut self, data: Bytes) {
        if !data.is_empty() {
            http1::chunk_head(&mut self.tail, data.len());
            self.push(data);
            self.tail.extend_from_slice(b"\r\n");
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether enough waits.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.bound
    }

    /// Whether the reader has taken much at once.
    pub(crate) fn is_taken(&self) -> bool {
        self.bound == WAITING_BYTES_MAX
    }

    /// Gives memory back while the connection rests.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.tail = BytesMut::new();
        }
    }

    /// Writes what the socket takes: the number of bytes, 0 where nothing waits.
    pub(crate) fn poll_write(
        &mut self,
        mut io: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let written = if self.pieces.is_empty() {
            ready!(io.as_mut().poll_write(cx, &self.tail))?
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let all = self
                .pieces
                .iter()
                .map(|piece| &piece[..])
                .chain([&self.tail[..]]);
            let used = slices
                .iter_mut()
                .zip(all)
                .map(|(slice, piece)| *slice = IoSlice::new(piece))
                .count();
            ready!(io.as_mut().poll_write_vectored(cx, &slices[..used]))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        if self.is_empty() && written >= self.bound {
            self.bound = (self.bound * 2).min(WAITING_BYTES_MAX);
        }
        Poll::Ready(Ok(written))
    }

    fn len(&self) -> usize {
        self.pieces_len + self.tail.len()
    }

    fn push_piece(&mut self, piece: Bytes) {
        self.pieces_len += piece.len();
        self.pieces.push_back(piece);
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.pieces.front_mut().filter(|_| written > 0) {
            let len = written.min(first.len());
            first.advance(len);
            self.pieces_len -= len;
            written -= len;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
        self.tail.advance(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_are_written_in_order_whatever_the_socket_takes() {
        let (near, mut far) = tokio::io::duplex(1000);
        let mut near = Box::pin(near);
        let mut output = Output::default();
        let mut wanted = Vec::new();
        for (byte, len) in [
            (b'a', 10),
            (b'b', 5000),
            (b'c', 4096),
            (b'd', 9000),
            (b'e', 1),
        ] {
            output.push(Bytes::from(vec![byte; len]));
            wanted.extend(vec![byte; len]);
        }
        let writing = async {
            while !output.is_empty() {
                std::future::poll_fn(|cx| output.poll_write(near.as_mut(), cx))
                    .await
                    .expect("it is open");
            }
            drop(near);
        };
        let mut read = Vec::new();
        let (_, result) = tokio::join!(
            writing,
            tokio::io::AsyncReadExt::read_to_end(&mut far, &mut read)
        );
        result.expect("it ends");
        assert_eq!(read, wanted);
    }

    #[tokio::test]
    async fn a_reader_that_takes_all_may_have_more_at_once() {
        let mut taken = Box::pin(tokio::io::sink());
        let mut output = Output::default();
        let mut most = Vec::new();
        while !output.is_taken() {
            while !output.is_full() {
                output.push(Bytes::from_static(&[b'a'; 1000]));
            }
            most.push(output.len() >> 10);
            std::future::poll_fn(|cx| output.poll_write(taken.as_mut(), cx))
                .await
                .expect("it takes all");
        }
        assert_eq!(most, [8, 16, 32]);
    }

    #[tokio::test]
    async fn a_reader_that_takes_little_gets_no_more_ahead() {
        let (near, _far) = tokio::io::duplex(1000);
        let mut near = Box::pin(near);
        let mut output = Output::default();
        output.push(Bytes::from(vec![b'a'; WAITING_BYTES_MIN + 1000]));
        let written = std::future::poll_fn(|cx| output.poll_write(near.as_mut(), cx)).await;
        assert_eq!(written.expect("it takes some"), 1000);
        assert!(output.is_full());
        assert!(!output.is_taken());
    }
}

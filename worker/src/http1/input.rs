//! What was read of a socket and not taken yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// Bytes of a first read; those of a busy body grow up to the maximum.
const READ_BYTES_MIN: usize = 8 << 10;
const READ_BYTES_MAX: usize = 256 << 10;

/// A buffer that grows with what comes, and has no memory while nothing does.
#[derive(Debug)]
pub(crate) struct Input {
    /// Whoever takes something takes it off the beginning.
    pub(crate) bytes: BytesMut,
    read_bytes: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
        }
    }
}

impl Input {
    /// Reads more behind what is there: the number of bytes, 0 when nothing more comes.
    pub(crate) fn poll_fill(
        &mut self,
        io: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.capacity() - self.bytes.len() < READ_BYTES_MIN / 4 {
            self.bytes.reserve(self.read_bytes);
        }
        let room = self.bytes.capacity() - self.bytes.len();
        let len = ready!(poll_read_buf(io, cx, &mut self.bytes))?;
        if len == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(len))
    }

    /// Gives memory back while the connection rests.
    pub(crate) fn release(&mut self) {
        if self.bytes.is_empty() {
            *self = Self::default();
        }
    }
}

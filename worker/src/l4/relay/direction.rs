//! One direction of a relay: bytes are copied while they come in small pieces, and spliced while they flow.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::Io;
use super::buffers::BUFFER_BYTES;
use super::pipe::Pipe;
use super::pools::Pools;

/// Buffers that are read full in a row before splicing begins: below 64 KiB it costs more than copying.
const FULL_READS: u8 = 4;

/// Fills of a pipe in a row with less than a buffer before splicing ends.
const SMALL_FILLS: u8 = 4;

/// Bytes that are spliced before others of the thread have their turn.
const TURN_BYTES: usize = 1 << 20;

/// The way of the bytes from one side to the other.
#[derive(Debug, Default)]
pub(super) struct Direction {
    held: Held,
    stage: Stage,
    mode: Mode,
    /// Bytes that have been passed on.
    pub(super) passed: u64,
    /// Written bytes that TLS may still keep back.
    unflushed: bool,
}

/// Which side failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    From,
    To,
}

/// Bytes that were read and not yet written.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Buffer {
        buffer: Box<[u8]>,
        start: usize,
        end: usize,
    },
    Pipe(Pipe),
}

#[derive(Debug, Default, Clone, Copy)]
enum Stage {
    /// More may come.
    #[default]
    Open,
    /// The source has said its last; the other side has to be told.
    Ended,
    /// The other side has been told.
    Shut,
}

/// How the next bytes are moved.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Copy { full_reads: u8 },
    Splice { small_fills: u8 },
}

impl Default for Mode {
    fn default() -> Self {
        Self::Copy { full_reads: 0 }
    }
}

/// What came of asking a side for bytes.
enum Read {
    Some,
    End,
}

impl Direction {
    /// Moves what can be moved. Ready when the source's end has been passed on.
    pub(super) fn poll(
        &mut self,
        from: &mut Io,
        to: &mut Io,
        pools: &Pools,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let mut turn_bytes = 0;
        loop {
            ready!(self.poll_write(to, pools, cx)).map_err(|_| Broken::To)?;
            match self.stage {
                Stage::Shut => return Poll::Ready(Ok(())),
                Stage::Ended => {
                    // A side that is gone got all there was, and needs no word of the end.
                    let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                    self.stage = Stage::Shut;
                }
                Stage::Open if turn_bytes >= TURN_BYTES => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Stage::Open => match self.poll_read(from, to, pools, cx) {
                    Poll::Ready(Ok(Read::Some)) => turn_bytes += self.held.len(),
                    Poll::Ready(Ok(Read::End)) => self.stage = Stage::Ended,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::From)),
                    Poll::Pending => {
                        // Only now, so that TLS makes as few records as it can.
                        if self.unflushed {
                            ready!(Pin::new(to).poll_flush(cx)).map_err(|_| Broken::To)?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// Gives back what was lent.
    pub(super) fn release(&mut self, pools: &Pools) {
        match std::mem::take(&mut self.held) {
            Held::Nothing => {}
            Held::Buffer { buffer, .. } => pools.buffers.put(buffer),
            Held::Pipe(pipe) => pools.pipes.put(pipe),
        }
    }

    /// Writes all that is held.
    fn poll_write(
        &mut self,
        to: &mut Io,
        pools: &Pools,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let written = match (&mut self.held, &mut *to) {
                (Held::Nothing, _) => return Poll::Ready(Ok(())),
                (Held::Buffer { buffer, start, end }, to) => {
                    let written = ready!(Pin::new(&mut *to).poll_write(cx, &buffer[*start..*end]))?;
                    *start += written;
                    self.unflushed = matches!(to, Either::Right(_));
                    written
                }
                (Held::Pipe(pipe), Either::Left(to)) => ready!(poll_drain(pipe, to, cx))?,
                (Held::Pipe(_), Either::Right(_)) => {
                    unreachable!("only bytes between two sockets are spliced")
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.passed += written as u64;
            if self.held.len() == 0 {
                self.release(pools);
            }
        }
    }

    /// Reads what is there, and keeps nothing lent where nothing is.
    fn poll_read(
        &mut self,
        from: &mut Io,
        to: &Io,
        pools: &Pools,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Read>> {
        if let Mode::Splice { small_fills } = self.mode
            && let (Either::Left(from), Either::Left(_)) = (&mut *from, to)
            && let Some(pipe) = pools.pipes.take()
        {
            match self.poll_splice(from, pipe, small_fills, pools, cx) {
                // Not a kind of socket that can be spliced.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.mode = Mode::default();
                }
                read => return read,
            }
        }
        let is_spliceable = matches!((&*from, to), (Either::Left(_), Either::Left(_)));
        self.poll_copy(from, is_spliceable, pools, cx)
    }

    fn poll_splice(
        &mut self,
        from: &TcpStream,
        mut pipe: Pipe,
        small_fills: u8,
        pools: &Pools,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Read>> {
        let len = match poll_fill(&mut pipe, from, cx) {
            Poll::Ready(Ok(len)) if len > 0 => len,
            other => {
                pools.pipes.put(pipe);
                return other.map_ok(|_| Read::End);
            }
        };
        self.held = Held::Pipe(pipe);
        self.mode = if len >= BUFFER_BYTES {
            Mode::Splice { small_fills: 0 }
        } else if small_fills + 1 < SMALL_FILLS {
            Mode::Splice {
                small_fills: small_fills + 1,
            }
        } else {
            Mode::default()
        };
        Poll::Ready(Ok(Read::Some))
    }

    fn poll_copy(
        &mut self,
        from: &mut Io,
        is_spliceable: bool,
        pools: &Pools,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Read>> {
        let mut buffer = pools.buffers.take();
        let mut into = ReadBuf::new(&mut buffer);
        let read = Pin::new(from).poll_read(cx, &mut into);
        let end = into.filled().len();
        match read {
            Poll::Ready(Ok(())) if end > 0 => {}
            other => {
                pools.buffers.put(buffer);
                return match other {
                    // The client closed without a word of TLS's own, as many do.
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        Poll::Ready(Ok(Read::End))
                    }
                    other => other.map_ok(|()| Read::End),
                };
            }
        }
        self.mode = match self.mode {
            Mode::Copy { full_reads } if end == BUFFER_BYTES && is_spliceable => {
                if full_reads + 1 < FULL_READS {
                    Mode::Copy {
                        full_reads: full_reads + 1,
                    }
                } else {
                    Mode::Splice { small_fills: 0 }
                }
            }
            Mode::Splice { small_fills } if end == BUFFER_BYTES => Mode::Splice { small_fills },
            Mode::Copy { .. } | Mode::Splice { .. } => Mode::default(),
        };
        self.held = Held::Buffer {
            buffer,
            start: 0,
            end,
        };
        Poll::Ready(Ok(Read::Some))
    }
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Buffer { start, end, .. } => end - start,
            Self::Pipe(pipe) => pipe.len(),
        }
    }
}

fn poll_fill(pipe: &mut Pipe, from: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    loop {
        ready!(from.poll_read_ready(cx))?;
        match from.try_io(Interest::READABLE, || pipe.fill(from)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            filled => return Poll::Ready(filled),
        }
    }
}

fn poll_drain(pipe: &mut Pipe, to: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    loop {
        ready!(to.poll_write_ready(cx))?;
        match to.try_io(Interest::WRITABLE, || pipe.drain(to)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            drained => return Poll::Ready(drained),
        }
    }
}

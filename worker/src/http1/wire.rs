//! A client's socket with what was read ahead and what waits to be written, shared by the connection's loop
//! and the body of its present request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tidegate_codec::Refusal;
use tidegate_codec::http1::{Chunks, Decoded, Framing, HeadBounds, HeadScan};
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::io::poll_read_buf;

use super::output::Output;
use crate::http::pace::Pace;
use crate::limits::Limits;

/// A client's socket, in plain text or with TLS.
pub(crate) type Io = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Bytes of a first read; those of a busy body grow up to the maximum.
const READ_BYTES_MIN: usize = 8 << 10;
const READ_BYTES_MAX: usize = 256 << 10;

/// Bytes of a body that nobody wants, for which its connection is kept; above, it is closed.
pub(super) const DISCARDED_BYTES_MAX: u64 = 256 << 10;

/// Bytes of further requests that are read while one is being answered.
const READ_AHEAD_BYTES_MAX: usize = 64 << 10;

/// A connection's bytes in both directions.
#[derive(Debug)]
pub(super) struct Wire {
    io: Io,
    input: BytesMut,
    pub(super) output: Output,
    content: Content,
    /// Counts requests, so that the body of an earlier one reads nothing of a later one.
    request: u64,
    /// The client sends nothing more.
    pub(super) ended: bool,
    /// The client waits for 100 before it sends the body.
    continue_wanted: bool,
    read_bytes: usize,
    pace: Pace,
    /// Waits for the connection to leave HTTP.
    switching: Option<Waker>,
    /// Waits for the end of the body, to look after the client from then on.
    watcher: Option<Waker>,
}

/// What is left of the present request's body.
#[derive(Debug)]
enum Content {
    Length(u64),
    Chunked(Box<Chunks>),
    /// No body, but bytes of another protocol once the connection has switched to it.
    Switching,
    Switched,
    Ended,
    Broken(Refusal),
}

impl Wire {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            input: BytesMut::new(),
            output: Output::default(),
            content: Content::Ended,
            request: 0,
            ended: false,
            continue_wanted: false,
            read_bytes: READ_BYTES_MIN,
            pace: Pace::default(),
            switching: None,
            watcher: None,
        }
    }

    /// The next head, as far as bytes are there.
    pub(super) fn take_head(
        &mut self,
        scan: &mut HeadScan,
        bounds: &HeadBounds,
    ) -> Result<Option<Bytes>, Refusal> {
        let end = scan.end(&self.input, bounds)?;
        Ok(end.map(|len| self.input.split_to(len).freeze()))
    }

    /// The body of another request begins; returns the number that reads it.
    pub(super) fn start_body(
        &mut self,
        framing: Framing,
        upgrades: bool,
        expects_continue: bool,
        limits: &Limits,
    ) -> u64 {
        self.request += 1;
        self.continue_wanted = expects_continue;
        self.pace.begin(limits);
        self.content = match framing {
            Framing::Length(length) => Content::Length(length),
            Framing::Chunked => {
                let chunks = Chunks::new(limits.header_bytes_max, limits.header_count_max);
                Content::Chunked(Box::new(chunks))
            }
            Framing::None if upgrades => Content::Switching,
            Framing::None => Content::Ended,
        };
        self.request
    }

    /// The answer begins: it is too late for 100. Returns whether a next request can be found: not after a
    /// body that is not valid, that the client may not send any more, or of which too much is to come.
    pub(super) fn start_answer(&mut self, switches: bool) -> bool {
        match self.content {
            Content::Switching if switches => self.content = Content::Switched,
            Content::Switching => self.content = Content::Ended,
            _ => {}
        }
        if let Some(waker) = self.switching.take() {
            waker.wake();
        }
        let can_end = match self.content {
            Content::Broken(_) => false,
            Content::Length(left) => left <= DISCARDED_BYTES_MAX,
            _ => true,
        };
        !std::mem::take(&mut self.continue_wanted) && can_end
    }

    /// Whoever has the present body reads nothing more of it; returns the number that does.
    pub(super) fn take_over_body(&mut self) -> u64 {
        self.request += 1;
        self.request
    }

    pub(super) fn has_whole_body(&self) -> bool {
        matches!(self.content, Content::Ended | Content::Switching)
    }

    /// The length that is known of what is left of the body.
    pub(super) fn body_len(&self, request: u64) -> Option<u64> {
        match self.content {
            _ if request != self.request => None,
            Content::Length(left) => Some(left),
            Content::Ended | Content::Switching => Some(0),
            _ => None,
        }
    }

    /// Gives memory back while the connection rests.
    pub(super) fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.read_bytes = READ_BYTES_MIN;
        }
        self.output.release();
    }

    /// The next piece of the body; `None` at its end.
    pub(super) fn poll_body(
        &mut self,
        request: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        if request != self.request {
            return Poll::Ready(Some(Err(Refusal::BodyBrokenOff)));
        }
        loop {
            if let Some(frame) = self.take_frame() {
                // A client that has sent some of the body waits for nothing.
                self.continue_wanted = false;
                return Poll::Ready(Some(frame));
            }
            match self.content {
                Content::Ended => return Poll::Ready(None),
                Content::Switching => {
                    self.switching = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                _ => {}
            }
            if self.ended {
                self.end_early();
                continue;
            }
            self.send_continue(cx);
            match self.poll_fill(cx) {
                Poll::Ready(Ok(len)) => self.pace.note(len),
                Poll::Ready(Err(_)) => self.ended = true,
                Poll::Pending if self.content_is_raw() => return Poll::Pending,
                Poll::Pending => {
                    ready!(self.pace.poll_too_slow(cx));
                    self.content = Content::Broken(Refusal::BodyTooSlow);
                }
            }
        }
    }

    /// Reads what the client sends: the number of bytes, 0 when nothing more comes.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < READ_BYTES_MIN / 4 {
            self.input.reserve(self.read_bytes);
        }
        let room = self.input.capacity() - self.input.len();
        let len = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input))?;
        self.ended |= len == 0;
        if len == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(len))
    }

    /// Looks after the client while others work: writes what waits, reads ahead. Ready when the client is gone.
    pub(super) fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(Err(_)) = self.poll_flush(cx) {
            return Poll::Ready(());
        }
        while self.has_whole_body() && !self.ended && self.input.len() < READ_AHEAD_BYTES_MAX {
            match self.poll_fill(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if !self.has_whole_body() {
            self.watcher = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Writes all that waits.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            ready!(self.output.poll_write(Pin::new(&mut self.io), cx))?;
        }
        match &mut self.io {
            Either::Left(_) => Poll::Ready(Ok(())),
            // TLS keeps records back until then.
            Either::Right(io) => Pin::new(io).poll_flush(cx),
        }
    }

    /// Writes something of what waits.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.output.poll_write(Pin::new(&mut self.io), cx)
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Reads and drops what the client sends: the number of bytes.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.clear();
        self.poll_fill(cx)
    }

    /// Closing the socket will tell the client that something went wrong, by a reset.
    pub(super) fn reset_at_end(&self) {
        let socket = match &self.io {
            Either::Left(socket) => socket,
            Either::Right(tls) => tls.get_ref().0,
        };
        // Without it the client sees an ordinary end: the best that is left.
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }

    fn content_is_raw(&self) -> bool {
        matches!(self.content, Content::Switched)
    }

    /// What of the body is among the bytes that have been read.
    fn take_frame(&mut self) -> Option<Result<Frame<Bytes>, Refusal>> {
        match &mut self.content {
            Content::Broken(refusal) => Some(Err(*refusal)),
            Content::Length(left) if !self.input.is_empty() => {
                let len = usize::try_from(*left)
                    .map_or(self.input.len(), |left| left.min(self.input.len()));
                *left -= len as u64;
                if *left == 0 {
                    self.end_body();
                }
                Some(Ok(Frame::data(self.input.split_to(len).freeze())))
            }
            Content::Chunked(chunks) => match chunks.decode(&mut self.input) {
                Ok(Decoded::Partial) => None,
                Ok(Decoded::Data(data)) => Some(Ok(Frame::data(data))),
                Ok(Decoded::End(trailers)) => {
                    self.end_body();
                    trailers.map(|trailers| Ok(Frame::trailers(trailers)))
                }
                Err(refusal) => {
                    self.content = Content::Broken(refusal);
                    Some(Err(refusal))
                }
            },
            Content::Switched if !self.input.is_empty() => {
                Some(Ok(Frame::data(self.input.split().freeze())))
            }
            Content::Length(_) | Content::Switching | Content::Switched | Content::Ended => None,
        }
    }

    fn end_body(&mut self) {
        self.content = Content::Ended;
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }

    fn end_early(&mut self) {
        self.content = match self.content {
            Content::Switched => Content::Ended,
            _ => Content::Broken(Refusal::BodyBrokenOff),
        };
    }

    fn send_continue(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.continue_wanted) {
            self.output
                .push(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
        if !self.output.is_empty() && !self.content_is_raw() {
            // An error shows at the next read.
            let _ = self.poll_flush(cx);
        }
    }
}
